"""How every measurement ends: a table for people, a JSON file with the machine and the versions, and its path."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"


def finish(name: str, rows: Sequence[Mapping[str, Any]], *, failed: bool = False, **facts: Any) -> None:
    """Print the rows as a table, write everything to a JSON file, print its path, and exit: 1 when something failed.

    Args:
        name: What was measured; the first part of the file's name.
        rows: The figures, with the same keys in each.
        failed: Whether something did not run.
        facts: More figures, for the file only.
    """
    show(name, rows)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(
        json.dumps({"name": name, "rows": rows, **facts, **surroundings(), "failed": failed}, indent=2, default=str)
    )
    print(f"results: {path}")
    sys.exit(1 if failed else 0)


def show(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows with the same keys as a table."""
    table = Table(title=title, title_justify="left")
    for column in rows[0] if rows else ():
        table.add_column(column, justify="left" if isinstance(rows[0][column], str) else "right")
    for row in rows:
        table.add_row(*(_shown(value) for value in row.values()))
    Console(width=max(140, Console().width)).print(table)


def surroundings() -> dict[str, Any]:
    """Return what the figures depend on: the machine, the versions and the commit."""
    return {
        "machine": {
            "system": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "load_before": os.getloadavg()[0],
        },
        "python": platform.python_version(),
        "versions": {found.name: found.version for found in distributions()},
        "commit": _git("rev-parse", "HEAD"),
        "changed": bool(_git("status", "--porcelain")),
    }


def _shown(value: Any) -> str:
    return f"{value:,.1f}" if isinstance(value, float) else str(value)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()
