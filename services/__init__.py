"""The five services and the process tree that runs them together."""

from __future__ import annotations
