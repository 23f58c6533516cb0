"""`make bench-bombs`: how long small documents take to become searchable, alone and while hostile PDFs are read.

Small Markdown documents come one after another, then other ones just after the PDF bombs of the tests. Exit 1 when the bombs
delay them by more than 2 seconds, or a bomb does not end as one.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from bench.ingesting import Ended, ingest
from bench.memory import PeakMemory
from bench.report import finish, show
from rag.client import RagClient
from tests.ingestor import pdfs
from tests.system.processes import running_tree

BOMBS = (pdfs.flate_bomb, pdfs.double_flate_bomb, pdfs.operators_bomb, pdfs.shared_stream_bomb)
HARDER = (*BOMBS, pdfs.partly_shared_stream_bomb)
"""With one that looks honest and burns all the CPU time that it is granted."""
CAUSES = {"PDF_LIMIT", "PARSER_MEMORY", "PARSER_TIMEOUT"}
MOST_DELAY_S = 2.0
MIB = 2**20
_TIMEOUT_S = 300.0
_CHILDREN = "ingestor.readers"


@dataclass(frozen=True, slots=True)
class Run:
    """What became of the small documents, and of what was uploaded before them."""

    small: Sequence[Ended]
    bombs: Sequence[Ended]
    child_bytes: int

    def row(self, name: str) -> dict[str, Any]:
        """The run as a row of a table."""
        seconds = [one.seconds for one in self.small]
        return {
            "small documents": name,
            "count": len(seconds),
            "ready": sum(one.outcome == "ready" for one in self.small),
            "median s": f"{median(seconds):.2f}",
            "worst s": f"{max(seconds):.2f}",
            "largest parser MiB": self.child_bytes / MIB,
        }


def main() -> None:
    """Measure both, print times, delay and the ends of the bombs, exit."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=30, help="small documents in each run (default 30)")
    parser.add_argument("--every", type=float, default=0.5, help="seconds between two of them (default 0.5)")
    parser.add_argument("--copies", type=int, default=1, help="how often each bomb is uploaded (default 1)")
    parser.add_argument("--harder", action="store_true", help="a fifth bomb, which looks honest and burns for minutes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rag") as folder, running_tree(Path(folder) / "tree") as tree:
        bombs = _bombs(Path(folder), options.copies, harder=options.harder)
        root = psutil.Process(tree.process.pid)
        # What is loaded and built on the first use is no delay by others.
        _measured(root, tree.address, _small(Path(folder), "first", 3), [], options.every)
        alone = _measured(root, tree.address, _small(Path(folder), "alone", options.count), [], options.every)
        beside = _measured(root, tree.address, _small(Path(folder), "beside", options.count), bombs, options.every)
        alive = tree.process.poll() is None
    report(alone, beside, alive=alive)


def report(alone: Run, beside: Run, *, alive: bool) -> None:
    """Print everything, write it to a file, exit."""
    show("bombs", [_bomb(one) for one in beside.bombs])
    delays = delays_s(alone, beside)
    shown = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in delays.items())
    print(f"delay: {shown} (goal: at most {MOST_DELAY_S:g} s)")
    small = all(one.outcome == "ready" for one in (*alone.small, *beside.small))
    defused = all(one.outcome in CAUSES for one in beside.bombs)
    kept = alive and small and defused and max(delays.values()) <= MOST_DELAY_S
    rows = [alone.row("alone"), beside.row("beside the bombs")]
    finish("bombs", rows, failed=not kept, delays=delays, bombs=[one.row() for one in beside.bombs])


def delays_s(alone: Run, beside: Run) -> Mapping[str, float]:
    """By how many seconds the median and the worst document were later; the worst against the median alone."""
    usual = median(one.seconds for one in alone.small)
    times = [one.seconds for one in beside.small]
    return {"median": median(times) - usual, "worst": max(times) - usual}


def _measured(root: psutil.Process, address: str, small: Sequence[Path], bombs: Sequence[Path], every_s: float) -> Run:
    with PeakMemory(root) as peak:
        ended, exploded = asyncio.run(_run(address, small, bombs, every_s))
    return Run(ended, exploded, peak.largest.get(_CHILDREN, 0))


async def _run(
    address: str, small: Sequence[Path], bombs: Sequence[Path], every_s: float
) -> tuple[list[Ended], list[Ended]]:
    """Upload the bombs, then the small documents on a schedule; follow all to their ends."""
    uploads = asyncio.Semaphore(len(small) + len(bombs))

    async def after(pause_s: float, work: Awaitable[Ended]) -> Ended:
        await asyncio.sleep(pause_s)
        return await work

    async with RagClient(address, timeout_s=_TIMEOUT_S) as rag:
        exploding = [asyncio.ensure_future(ingest(rag, path, uploads)) for path in bombs]
        later = [after((1 + number) * every_s, ingest(rag, path, uploads)) for number, path in enumerate(small)]
        return list(await asyncio.gather(*later)), list(await asyncio.gather(*exploding))


def _bombs(folder: Path, copies: int, *, harder: bool) -> list[Path]:
    made = [(bomb.__name__, bomb()) for bomb in (HARDER if harder else BOMBS)]
    # A comment at the end makes each copy a content of its own.
    return [
        _written(folder, f"{name}-{copy}.pdf", content + b"%% %d" % copy)
        for name, content in made
        for copy in range(copies)
    ]


def _small(folder: Path, name: str, count: int) -> list[Path]:
    return [_written(folder, f"{name}-{number}.md", _text(name, number).encode()) for number in range(count)]


def _text(name: str, number: int) -> str:
    lines = [
        f"Rule {line} of plan {number} ({name}): check valve {line * number} in hall {number}." for line in range(12)
    ]
    return f"# Plan {number}, {name}\n\n" + "\n\n".join(lines) + "\n"


def _bomb(one: Ended) -> dict[str, Any]:
    return {"bomb": one.file.stem, "outcome": one.outcome, "s": one.seconds, "message": one.job.error.message}


def _written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


if __name__ == "__main__":
    main()
