"""`make bench-ingest FILES="a.pdf folder"`: each file's outcome and time, and the memory that each process grew by."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from contextlib import aclosing
from pathlib import Path
from typing import Any

import psutil

from bench.memory import PeakMemory, resident
from bench.report import finish
from rag.client import RagClient
from rag.runtime.errors import RagError
from rag.v1 import ingestor_pb2
from tests.system.processes import Tree, running_tree

MIB = 2**20
AT_ONCE = 4


def main() -> None:
    """Ingest all files into a tree of its own; exit 1 when a process died or a job never ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="+", type=Path, help="files, or folders whose files are taken")
    parser.add_argument("--each", action="store_true", help="show a row for every file, not only the sums")
    options = parser.parse_args()
    files = sorted(
        file for path in options.paths for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()
    )
    with tempfile.TemporaryDirectory(prefix="rag") as folder, running_tree(Path(folder)) as tree:
        root = psutil.Process(tree.process.pid)
        idle = resident(root)
        with PeakMemory(root) as memory:
            rows = asyncio.run(ingest_all(tree, files))
        alive = tree.process.poll() is None
    growth = [
        {
            "process": name,
            "idle MiB": idle.get(name, 0) / MIB,
            "peak MiB": peak / MIB,
            "growth MiB": (peak - idle.get(name, 0)) / MIB,
        }
        for name, peak in sorted(memory.peak.items())
    ]
    outcomes = Counter(row["outcome"] for row in rows)
    shown = (
        rows if options.each else [{"outcome": outcome, "files": count} for outcome, count in outcomes.most_common()]
    )
    summary(growth, rows)
    finish("ingest", shown, failed=not alive or "UNFINISHED" in outcomes, files=rows, memory=growth)


def summary(growth: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    """Print the memory of each process and the slowest file."""
    for row in growth:
        print(
            "  ".join(
                f"{key} {value:,.0f}" if isinstance(value, float) else f"{value:<24}" for key, value in row.items()
            )
        )
    slowest = max(rows, key=lambda row: row["seconds"])
    print(f"slowest: {slowest['file']}, {slowest['seconds']:.1f} s")


async def ingest_all(tree: Tree, files: list[Path]) -> list[dict[str, Any]]:
    """Ingest the files, a few at once; return a row for each."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(rag: RagClient, path: Path) -> dict[str, Any]:
        async with slots:
            return await ingest(rag, path)

    async with RagClient(tree.address, timeout_s=600) as rag:
        return list(await asyncio.gather(*(one(rag, path) for path in files)))


async def ingest(rag: RagClient, path: Path) -> dict[str, Any]:
    """Ingest one file and follow its job; the outcome is `ready` or the reason it failed for."""
    began = time.perf_counter()
    outcome, job = "UNFINISHED", ingestor_pb2.Job()
    try:
        job = await rag.ingest(path)
        async with aclosing(rag.watch(job.id)) as events:
            async for event in events:
                job = event.job
        if job.state == ingestor_pb2.JOB_STATE_READY:
            outcome = "ready"
        elif job.state == ingestor_pb2.JOB_STATE_FAILED:
            outcome = job.error.reason
    except RagError as error:
        outcome = error.reason
    return {
        "file": path.name,
        "outcome": outcome,
        "seconds": time.perf_counter() - began,
        "pages": job.progress.pages_done,
        "passages": job.progress.passages_indexed,
    }


if __name__ == "__main__":
    main()
