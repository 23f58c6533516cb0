"""What is measured, and how."""

from __future__ import annotations
