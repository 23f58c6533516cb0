"""The contract's messages and what the domain speaks of, one into the other."""

from __future__ import annotations
