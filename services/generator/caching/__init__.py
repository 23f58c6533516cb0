"""Answers given before: kept, found again by the same words or the same meaning, checked against the catalogue."""

from __future__ import annotations
