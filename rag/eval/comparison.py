"""Two runs, question by question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rag.eval.runs import ModeRun, Run
from rag.eval.significance import Difference, difference
from rag.runtime.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Side:
    """One mode of one run."""

    run: Run
    mode: str

    @property
    def name(self) -> str:
        """What it is called."""
        return f"{self.run.name} {self.mode}"

    @property
    def record(self) -> ModeRun:
        """Its record.

        Raises:
            InvalidInput: NO_SUCH_MODE.
        """
        if self.mode not in self.run.modes:
            raise InvalidInput(f"The run {self.run.name} has no mode {self.mode}.", "NO_SUCH_MODE")
        return self.run.modes[self.mode]


@dataclass(frozen=True, slots=True)
class Changed:
    """A question whose figure changed, and the documents found first before and after."""

    id: str
    text: str
    first: float
    second: float
    found_first: Sequence[str]
    found_second: Sequence[str]


@dataclass(frozen=True, slots=True)
class Comparison:
    """How the second side differs from the first."""

    first: str
    second: str
    differences: Mapping[str, Difference]
    metric: str
    """By which `changed` is ordered: the largest change first."""
    changed: Sequence[Changed]
    questions: int
    left_out: int
    """Questions that only one side has."""


def compare(first: Side, second: Side, metric: str = "", most_changed: int = 5) -> Comparison:
    """Compare two sides on the questions that both have.

    Args:
        first: What was before.
        second: What is after.
        metric: The figure that `changed` is about; empty for the first of the run.
        most_changed: How many questions are listed.

    Raises:
        InvalidInput: OTHER_DATASET, NO_SUCH_MODE, NO_SUCH_METRIC, NOTHING_TO_COMPARE.
    """
    if (first.run.dataset, first.run.split) != (second.run.dataset, second.run.split):
        raise InvalidInput("The two runs are of different datasets.", "OTHER_DATASET")
    before, after = first.record, second.record
    names = [name for name in before.figures if name in after.figures]
    metric = metric or next(iter(names), "")
    if metric not in names:
        raise InvalidInput(
            f"Both runs have {', '.join(names) or 'no figure'} in common, and not {metric}.", "NO_SUCH_METRIC"
        )
    common = [question for question in before.questions if question in after.questions]
    changed = [_changed(first, second, question, metric) for question in common]
    moved = sorted((one for one in changed if one.first != one.second), key=lambda one: -abs(one.second - one.first))
    return Comparison(
        first=first.name,
        second=second.name,
        differences={name: difference(_column(before, common, name), _column(after, common, name)) for name in names},
        metric=metric,
        changed=moved[:most_changed],
        questions=len(common),
        left_out=len(before.questions.keys() ^ after.questions.keys()),
    )


def _column(record: ModeRun, questions: Sequence[str], name: str) -> list[float]:
    return [record.questions[question].figures[name] for question in questions]


def _changed(first: Side, second: Side, question: str, metric: str) -> Changed:
    before, after = first.record.questions[question], second.record.questions[question]
    text = first.run.questions.get(question, "")
    return Changed(question, text, before.figures[metric], after.figures[metric], before.found, after.found)
