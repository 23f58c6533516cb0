"""Backups of an embedded deployment: taken while it runs, checked, brought back."""

from __future__ import annotations

REMOVALS_PAUSED = "REMOVALS_PAUSED"
"""The reason with which a removal is refused while a backup is taken."""
UNFINISHED = "restore.unfinished"
"""This file in a data folder says that a restore broke off: what lies there is half of one thing and half of another."""
