"""`ragmesh up`: everything, on this machine."""

from __future__ import annotations

import subprocess
import sys

import typer


def up() -> None:
    """Run the five services and a Redis until Ctrl-C."""
    # The same process group, so that Ctrl-C reaches the tree; its exit code becomes ours.
    process = subprocess.Popen([sys.executable, "-m", "services"])
    while True:
        try:
            raise typer.Exit(process.wait())
        except KeyboardInterrupt:
            continue  # the tree heard it too and is stopping
