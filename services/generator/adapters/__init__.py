"""Adapters of the generator: one technology in one role each."""

from __future__ import annotations
