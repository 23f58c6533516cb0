"""`python -m services`: all five services as child processes, and a Redis when none is set."""

from __future__ import annotations

import argparse
import asyncio
import sys

from rag.runtime.errors import RagError
from rag.runtime.settings import SettingsError, load
from services.tree import TreeSettings, run_tree


def main() -> None:
    """Run the tree until Ctrl-C or the first death; exit 1 on a death."""
    argparse.ArgumentParser(
        prog="python -m services", description=__doc__, epilog="Settings are environment variables; see .env.example."
    ).parse_args()
    try:
        sys.exit(asyncio.run(run_tree(load(TreeSettings))))
    except (SettingsError, RagError) as error:
        sys.exit(f"ragmesh: {error}")


if __name__ == "__main__":
    main()
