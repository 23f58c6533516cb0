"""The HTTP side of the door: one module per resource."""

from __future__ import annotations
