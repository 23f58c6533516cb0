"""`make bench-memory`: what ingesting a long PDF takes in memory, process by process, beside a short one.

Each goes into a fresh tree. Exit 1 when a process grows by more than 150 MB over the long one, or by 30 MB more than over the
short one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.ingest import Measured, measure, rates
from bench.report import finish, show
from tests.ingestor.pdfs import pdf

SHORT, LONG = 200, 2_000
LINES = 30
MB, MIB = 1_000_000, 2**20
MOST_GROWTH_MB = 150.0
MOST_DIFFERENCE_MB = 30.0


def main() -> None:
    """Measure both, print growth and difference of every process, exit."""
    with tempfile.TemporaryDirectory(prefix="rag") as folder:
        runs = {pages: _measured(Path(folder), pages) for pages in (SHORT, LONG)}
    show("rates", [{"PDF pages": pages, **rates(run)} for pages, run in runs.items()])
    rows = compared(runs[SHORT], runs[LONG])
    sound = all(run.alive and {one.outcome for one in run.ended} == {"ready"} for run in runs.values())
    goals = f"goals: growth at most {MOST_GROWTH_MB:g} MB, difference at most {MOST_DIFFERENCE_MB:g} MB"
    missed = [str(row["process"]) for row in rows if not row["kept"]]
    print(f"{goals}: {'missed by ' + ', '.join(missed) if missed else 'kept by every process'}")
    outcomes = {pages: [one.row() for one in run.ended] for pages, run in runs.items()}
    finish("memory", rows, failed=bool(missed) or not sound, outcomes=outcomes)


def compared(short: Measured, long: Measured) -> list[dict[str, Any]]:
    """Each process with its growth in both runs, in MB, and whether that is within the goals."""
    few, many = _growths(short), _growths(long)
    return [_row(name, few.get(name, 0.0), many.get(name, 0.0)) for name in sorted({*few, *many})]


def _row(name: str, few: float, many: float) -> dict[str, Any]:
    kept = many <= MOST_GROWTH_MB and abs(many - few) <= MOST_DIFFERENCE_MB
    return {
        "process": name,
        f"MB on {SHORT} pages": few,
        f"MB on {LONG} pages": many,
        "difference MB": many - few,
        "kept": kept,
    }


def _growths(run: Measured) -> Mapping[str, float]:
    return {row["process"]: row["growth MiB"] * MIB / MB for row in run.memory}


def _measured(folder: Path, pages: int) -> Measured:
    file = folder / f"{pages}-pages.pdf"
    file.write_bytes(pdf(pages, LINES))
    return measure([file], 1)


if __name__ == "__main__":
    main()
