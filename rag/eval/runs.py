"""The record of one evaluation: figures, times, and what became of each question, as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rag.eval.asking import Timing
from rag.runtime.errors import InvalidInput, NotFound

FORMAT = 1
_KEPT = 10
"""How many places of a ranking are kept: enough to see why a question got better or worse."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One question: its figures, and the documents found first."""

    figures: Mapping[str, float]
    found: Sequence[str]


@dataclass(frozen=True, slots=True)
class ModeRun:
    """All questions asked in one mode."""

    figures: Mapping[str, float]
    """The means over all questions."""
    questions: Mapping[str, Judged]
    timing: Timing | None = None
    notices: Mapping[str, int] = field(default_factory=dict)
    """How many answers were degraded in which way."""


@dataclass(frozen=True, slots=True)
class Run:
    """One evaluation of one dataset."""

    dataset: str
    kind: str
    split: str
    label: str
    at: str
    """When it ended, in UTC."""
    top_k: int
    filled: Mapping[str, Any]
    """What was ingested."""
    index: Mapping[str, str]
    """The index that answered; empty when it did not tell."""
    questions: Mapping[str, str]
    """The texts of the questions."""
    modes: Mapping[str, ModeRun]

    @property
    def name(self) -> str:
        """What the run is called beside others."""
        return self.label or self.at


def mode_run(judged: Mapping[str, Judged], timing: Timing | None, notices: Mapping[str, int]) -> ModeRun:
    """Return a mode's record with the means of all figures."""
    rows = [one.figures for one in judged.values()]
    figures = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
    return ModeRun(figures, judged, timing, notices)


def judged_of(figures: Mapping[str, float], found: Sequence[str]) -> Judged:
    """Return a question's record, with the first documents found."""
    return Judged(figures, list(dict.fromkeys(found))[:_KEPT])


def write_run(run: Run, path: Path) -> None:
    """Write a run, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps({"format": FORMAT, **asdict(run)}, indent=1), encoding="utf-8")
    draft.replace(path)


def read_run(path: Path) -> Run:
    """Read a run.

    Raises:
        NotFound: NO_RUN.
        InvalidInput: BAD_RUN.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror or 'unknown reason'}.", "NO_RUN") from error
    except ValueError as error:
        raise InvalidInput(f"{path} is not JSON.", "BAD_RUN") from error
    try:
        return _run(**record)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"{path} is not the record of an evaluation.", "BAD_RUN") from error


def earlier_runs(folder: Path, run: Run, most: int) -> list[Run]:
    """Return the last runs of the same dataset and split in a folder, the oldest first, without this one."""
    found = [one for path in sorted(folder.glob(f"{run.dataset}-*.json")) if (one := _run_if_any(path))]
    like = [one for one in found if (one.dataset, one.split) == (run.dataset, run.split) and one.at < run.at]
    return sorted(like, key=lambda one: one.at)[-most:]


def _run_if_any(path: Path) -> Run | None:
    try:
        return read_run(path)
    except InvalidInput:  # other JSON may lie beside the records
        return None


def now() -> str:
    """Return the time as runs carry it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _run(*, format: int, modes: Mapping[str, Any], **rest: Any) -> Run:  # noqa: A002 - the name in the record
    if format != FORMAT:
        raise ValueError("The record has another format.")
    return Run(modes={name: _mode(mode) for name, mode in modes.items()}, **rest)


def _mode(record: Mapping[str, Any]) -> ModeRun:
    questions = {name: Judged(one["figures"], one["found"]) for name, one in record["questions"].items()}
    timing = Timing(**record["timing"]) if record["timing"] else None
    return ModeRun(record["figures"], questions, timing, record["notices"])
