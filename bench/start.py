"""`make bench-start`: how long the tree takes until SERVING, what it weighs when idle, how long it takes to stop."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import psutil

from bench.memory import resident
from bench.report import finish
from tests.system.processes import running_tree, stop

MIB = 2**20


def main() -> None:
    """Start and stop the tree some times; the first start builds the model and is counted apart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    rows = []
    with tempfile.TemporaryDirectory(prefix="rag") as folder:
        for run in range(runs + 1):
            rows.append({"run": "first" if run == 0 else str(run), **measure(Path(folder))})
    warm = rows[1:]
    middle = {key: statistics.median(row[key] for row in warm) for key in warm[0] if key != "run"}
    finish("start", [*rows, {"run": "median of warm", **middle}])


def measure(folder: Path) -> dict[str, float]:
    """Start the tree once; return seconds to serve, MiB when idle, seconds to stop."""
    began = time.perf_counter()
    with running_tree(folder) as tree:
        serving = time.perf_counter() - began
        idle = resident(psutil.Process(tree.process.pid))
        began = time.perf_counter()
        stop(tree.process)
        return {
            "serving s": round(serving, 2),
            "stopped s": round(time.perf_counter() - began, 2),
            "all MiB": sum(idle.values()) / MIB,
            **{f"{name} MiB": size / MIB for name, size in sorted(idle.items())},
        }


if __name__ == "__main__":
    main()
