"""The `ragmesh` command: a user of `rag.client` and nothing more."""

from __future__ import annotations

from rag.cli.app import main

__all__ = ["main"]
