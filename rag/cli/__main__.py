"""`python -m rag.cli` is the `ragmesh` command."""

from __future__ import annotations

from rag.cli.app import main

if __name__ == "__main__":
    main()
