"""How a run over many documents looks: as bars in a terminal, as lines in a pipe, as JSON for a program."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from rag.cli.ingesting import FAILED, NOT_SENT, READY, REMOVED, STATES, UNCHANGED, Item, Outcome
from rag.cli.plain import line
from rag.cli.terminal import print_json
from rag.v1 import ingestor_pb2 as pb

_NAME_CELLS = 40
_COLOURS = {READY: "green", UNCHANGED: "dim", FAILED: "red", "dead": "red", "cancelled": "yellow", REMOVED: "yellow"}


class Lines:
    """A line for each document that is through, when it is worth one."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet

    def showing(self) -> AbstractContextManager[None]:
        """The block in which there is something to show."""
        return nullcontext()

    def began(self, item: Item) -> None:
        """A line is printed at the end only."""

    def moved(self, item: Item, job: pb.Job) -> None:
        """A line is printed at the end only."""

    def ended(self, outcome: Outcome) -> None:
        """Print the line."""
        # What was not sent has one reason for all, which the summary tells.
        if outcome.state != NOT_SENT and not (self._quiet and outcome.state == UNCHANGED):
            self._console.print(line_of(outcome), soft_wrap=True)

    def summarise(self, lines: Sequence[Text]) -> None:
        """Print the last lines."""
        for text in lines:
            self._console.print(text, soft_wrap=True)


class JsonLines(Lines):
    """A line of JSON for each document that is through."""

    def ended(self, outcome: Outcome) -> None:
        """Print the line."""
        print_json(as_json(outcome))

    def summarise(self, lines: Sequence[Text]) -> None:
        """Say nothing: programs count for themselves."""


class Bars(Lines):
    """A bar for each document under way, one for all, and a line for each that is through."""

    def __init__(self, console: Console, total: int, *, quiet: bool = False) -> None:
        super().__init__(console, quiet=quiet)
        self._progress = Progress(*_columns(), console=console, transient=True)
        self._all = self._progress.add_task("all", total=total, note=f"0/{total}")
        self._bars: dict[int, TaskID] = {}
        self._passages = self._failed = self._done = 0
        self._total = total

    def showing(self) -> AbstractContextManager[Any]:
        """The block in which the bars move."""
        return self._progress

    def began(self, item: Item) -> None:
        """Add a bar."""
        self._bars[id(item)] = self._progress.add_task(_short(item.name), total=None, note="uploading")

    def moved(self, item: Item, job: pb.Job) -> None:
        """Move the bar; it never goes back, though the estimate behind it may."""
        bar = self._bars[id(item)]
        share = max(share_of(job.progress), self._progress.tasks[self._progress.task_ids.index(bar)].completed)
        self._progress.update(bar, note=note_of(job), completed=share, total=1.0 if share else None)

    def ended(self, outcome: Outcome) -> None:
        """Take the bar away and print the line."""
        super().ended(outcome)
        bar = self._bars.pop(id(outcome.item), None)
        if bar is None:
            return
        self._progress.remove_task(bar)
        self._done += 1
        self._failed += not outcome.is_good
        self._passages += outcome.job.progress.passages_indexed
        note = f"{self._done}/{self._total}, {self._passages:,} passages"
        note += f", {self._failed} failed" if self._failed else ""
        self._progress.update(self._all, completed=self._done, note=note)


def _columns() -> tuple[ProgressColumn, ...]:
    name = Column(max_width=_NAME_CELLS, no_wrap=True, overflow="ellipsis")
    note = Column(no_wrap=True, overflow="ellipsis", ratio=1)
    return (
        TextColumn("{task.description}", markup=False, table_column=name),
        BarColumn(20),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", markup=False, table_column=note),
    )


def share_of(progress: pb.JobProgress) -> float:
    """Return how much of a document is searchable, 0 to 1, as far as it can be told from its pages."""
    if not progress.passages or not progress.pages_done or progress.pages_total < progress.pages_done:
        return 0.0
    expected = progress.passages * progress.pages_total / progress.pages_done
    return min(1.0, progress.passages_indexed / expected)


def note_of(job: pb.Job) -> str:
    """Return what is to be said about a job under way."""
    done = job.progress
    parts = ["waiting" if job.state == pb.JOB_STATE_QUEUED else _pages(done), f"{done.passages_indexed} passages"]
    if done.HasField("seconds_left"):
        parts.append(f"{duration(done.seconds_left)} left")
    if done.rate_limit_waits:
        parts.append(_waits(done))
    if job.attempts > 1:
        parts.append(f"attempt {job.attempts}")
    return ", ".join(part for part in parts if part)


def line_of(outcome: Outcome) -> Text:
    """Return the line about a document that is through."""
    state = outcome.item.action if outcome.item.action and outcome.state == READY else outcome.state
    about = f"{outcome.reason}: {outcome.message}" if outcome.reason else _result(outcome)
    text = Text.assemble((f"{state:<9}", _COLOURS.get(outcome.state, "")), "  ", line(outcome.item.name))
    return text.append(f"  {line(about)}", style="dim") if about else text


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Return what a program wants to know about a document that is through."""
    job = outcome.job
    return {
        "file": outcome.item.name,
        **({"action": outcome.item.action} if outcome.item.action else {}),
        "state": outcome.state,
        "job_id": job.id,
        "document_id": job.document_id,
        "pages": job.progress.pages_done,
        "pages_skipped": job.progress.pages_skipped,
        "passages": job.progress.passages_indexed,
        "seconds": round(outcome.seconds, 3),
        "reason": outcome.reason,
        "message": outcome.message,
    }


def duration(seconds: float) -> str:
    """Return a number of seconds for people, such as `4 s`, `3 min` `2 h 5 min` or `3 days`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{hours // 24} days"


def age(moment: Timestamp) -> str:
    """Return how long ago a moment was, for people."""
    now = Timestamp()
    now.GetCurrentTime()
    return duration(max(0.0, (now.ToMilliseconds() - moment.ToMilliseconds()) / 1000))


def _pages(done: pb.JobProgress) -> str:
    if not done.pages_done and not done.pages_total:
        return ""
    return f"{done.pages_done}/{done.pages_total or '?'} pages"


def _waits(done: pb.JobProgress) -> str:
    return f"waited {done.rate_limit_waits} times for the model's rate limit ({duration(done.rate_limit_wait_s)})"


def _result(outcome: Outcome) -> str:
    done = outcome.job.progress
    if outcome.state == UNCHANGED:
        return ""
    if outcome.state != READY:
        return f"job {outcome.job.id}" if outcome.job.id else ""
    cached = f" ({done.vectors_cached} vectors from cache)" if done.vectors_cached else ""
    parts = [
        f"{done.pages_done} pages" if done.pages_done else "",
        f"{done.passages_indexed} passages{cached}",
        f"{done.pages_skipped} pages could not be read" if done.pages_skipped else "",
        _waits(done) if done.rate_limit_waits else "",
        f"{outcome.seconds:.1f} s",
    ]
    return ", ".join(part for part in parts if part)


def _short(name: str) -> str:
    shown = line(name)
    head = _NAME_CELLS // 4
    return shown if len(shown) <= _NAME_CELLS else f"{shown[:head]}\u2026{shown[head + 1 - _NAME_CELLS :]}"


def state_of(job: pb.Job) -> str:
    """Return a job's state as people read it."""
    state = STATES.get(job.state, "unknown")
    return UNCHANGED if state == READY and job.unchanged else state
