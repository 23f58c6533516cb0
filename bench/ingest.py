"""`make bench-ingest FILES="a.pdf folder" [EACH=1]`: how fast files become searchable, what limits it, what memory it takes.

Prints the rates, the share of the time in which each stage and the model were busy, the growth of every process, and a table
of outcomes. The time runs from the first upload to the end of the last job.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.ingesting import CANCELLED, DEAD, UNFINISHED, Ended, ingest_all
from bench.ingestors import Workshop, running_workshop
from bench.memory import PeakMemory, resident
from bench.report import finish, show, surroundings
from bench.scraped import Sample, scrape

MIB = 2**20
STAGES = ("extract", "split", "embed", "index")
UNSOUND = (DEAD, CANCELLED, UNFINISHED)
"""How outcomes begin that are not the document's fault."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: what became of the files, and what the services counted meanwhile."""

    ended: Sequence[Ended]
    seconds: float
    embedder: Sample
    ingestors: Sequence[Sample]
    memory: Sequence[Mapping[str, Any]]
    alive: bool


def main() -> None:
    """Ingest all files into a tree of its own; exit 1 when a process died, a job never ended or a document was done twice."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("paths", nargs="+", type=Path, help="files, or folders whose files are taken")
    parser.add_argument("--each", action="store_true", help="show a row for every file")
    parser.add_argument("--processes", type=int, default=1, help="ingestor processes on one Redis (default 1)")
    options = parser.parse_args()
    measured = measure(files_of(options.paths), options.processes)
    report(measured, each=options.each)


def files_of(paths: Sequence[Path]) -> list[Path]:
    """All files below the paths, in order."""
    return sorted(file for path in paths for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


def measure(files: Sequence[Path], processes: int) -> Measured:
    """Start a tree, ingest the files, stop the tree."""
    with tempfile.TemporaryDirectory(prefix="rag") as folder, running_workshop(Path(folder), processes) as shop:
        idle = [resident(root) for root in shop.roots]
        embedder, ingestors = scrape(shop.embedder_metrics), [scrape(port) for port in shop.ingestor_metrics]
        with ExitStack() as stack:
            peaks = [stack.enter_context(PeakMemory(root)) for root in shop.roots]
            began = time.perf_counter()
            ended = asyncio.run(ingest_all(shop.tree.address, files))
            seconds = time.perf_counter() - began
        return Measured(
            ended=ended,
            seconds=seconds,
            embedder=scrape(shop.embedder_metrics).since(embedder),
            ingestors=[
                scrape(port).since(before) for port, before in zip(shop.ingestor_metrics, ingestors, strict=True)
            ],
            memory=_growth(idle, [peak.peak for peak in peaks]),
            alive=_all_alive(shop),
        )


def report(measured: Measured, *, each: bool) -> None:
    """Print everything, write it to a file, exit."""
    files = [one.row() for one in measured.ended]
    shares = busy_shares(measured)
    workers = work_of(measured)
    facts: dict[str, Any] = {
        "rates": rates(measured),
        "busy": shares,
        "memory": measured.memory,
        "workers": workers,
        "files": files,
    }
    machine = surroundings()["machine"]
    print(
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, load {machine['load_before']}"
    )
    show("rates", [rates(measured)])
    show("% of the time busy", [shares])
    show("memory", measured.memory)
    show("ingestor processes", workers)
    if each:
        show("files", files)
    outcomes = outcomes_of(measured.ended)
    unsound = any(row["outcome"].startswith(UNSOUND) for row in outcomes)
    twice = done_twice(measured)
    for line in twice:
        print(line)
    finish("ingest", outcomes, failed=not measured.alive or unsound or bool(twice), twice=twice, **facts)


def rates(measured: Measured) -> dict[str, float | int]:
    """What was done in how many seconds."""
    done = [one.job.progress for one in measured.ended]
    counts = {
        "pages": sum(progress.pages_done for progress in done),
        "passages": sum(progress.passages_indexed for progress in done),
        "embeddings": sum(progress.vectors_computed for progress in done),
    }
    per_second = {f"{name}/s": count / measured.seconds for name, count in counts.items()}
    return {"files": len(done), "seconds": measured.seconds, **counts, **per_second}


def busy_shares(measured: Measured) -> dict[str, float]:
    """The share of the time, in percent, that the model ran, and that each stage had work in some process."""
    model = measured.embedder.total("embedder_run_seconds_sum")
    spent = {
        stage: max(one.total("ragmesh_ingest_stage_busy_seconds_total", stage=stage) for one in measured.ingestors)
        for stage in STAGES
    }
    return {name: 100 * seconds / measured.seconds for name, seconds in {"model": model, **spent}.items()}


def work_of(measured: Measured) -> list[dict[str, float | int]]:
    """What each ingestor process did."""
    return [
        {
            "process": number,
            "jobs": int(one.total("ragmesh_ingest_jobs_total")),
            "pages": int(one.total("ragmesh_ingest_pages_total")),
            "passages": int(one.total("ragmesh_ingest_passages_total")),
            "leases lost": int(one.total("ragmesh_ingest_leases_lost_total")),
        }
        for number, one in enumerate(measured.ingestors, 1)
    ]


def done_twice(measured: Measured) -> list[str]:
    """What shows that a document was done more than once; empty when nothing does."""
    found = [f"{one.file.name} took {one.job.attempts} attempts" for one in measured.ended if one.job.attempts > 1]
    work = work_of(measured)
    jobs = sum(row["jobs"] for row in work)
    if jobs != sum(bool(one.job.id) for one in measured.ended):
        found.append(f"{jobs} jobs were ended")
    passages = sum(row["passages"] for row in work)
    if passages != sum(one.job.progress.passages_indexed for one in measured.ended):
        found.append(f"{passages} passages were written")
    return found


def outcomes_of(ended: Sequence[Ended]) -> list[dict[str, Any]]:
    """How many files ended in which way, and the slowest of them."""
    slowest: dict[str, Ended] = {}
    counts = Counter(one.outcome for one in ended)
    for one in sorted(ended, key=lambda one: one.seconds):
        slowest[one.outcome] = one
    return [
        {"outcome": outcome, "files": count, "slowest": slowest[outcome].file.name, "s": slowest[outcome].seconds}
        for outcome, count in counts.most_common()
    ]


def _growth(idle: Sequence[Mapping[str, int]], peaks: Sequence[Mapping[str, int]]) -> list[dict[str, Any]]:
    before: dict[str, int] = defaultdict(int)
    after: dict[str, int] = defaultdict(int)
    for sums, parts in ((before, idle), (after, peaks)):
        for number, part in enumerate(parts, 1):
            for name, size in part.items():
                sums[name if number == 1 else f"{name} {number}"] += size
    return [
        {
            "process": name,
            "idle MiB": before[name] / MIB,
            "peak MiB": peak / MIB,
            "growth MiB": (peak - before[name]) / MIB,
        }
        for name, peak in sorted(after.items())
    ]


def _all_alive(shop: Workshop) -> bool:
    return shop.tree.process.poll() is None and shop.is_alive()


if __name__ == "__main__":
    main()
