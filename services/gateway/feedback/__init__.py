"""What people think of answers."""

from __future__ import annotations
