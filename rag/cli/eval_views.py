"""How evaluations look: bars while they run, tables when they are done."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from rag.cli.plain import line
from rag.eval.comparison import Changed, Comparison
from rag.eval.runs import ModeRun, Run
from rag.eval.significance import Difference

_LUCK = 0.05
_PIPE_WIDTH = 200
_MOST_FAILED = 5
_WRITTEN = {"ndcg_at_10": "nDCG@10", "mrr_at_10": "MRR@10", "token_iou": "IoU"}


class Bars:
    """A bar for each piece of work in a terminal, nothing elsewhere, as a context manager."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<16}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def began(self, what: str, total: int) -> None:
        """Begin the next bar."""
        self._task = self._progress.add_task(what, total=total)

    def advanced(self) -> None:
        """Move the bar."""
        if self._task is not None:
            self._progress.advance(self._task)


def written(figure: str) -> str:
    """Return the name of a figure as people write it."""
    return _WRITTEN.get(figure, figure.replace("_at_", "@").replace("_", " "))


def show_run(console: Console, run: Run) -> None:
    """Print figures and times of a run, and what went wrong."""
    filled = run.filled
    index = f", {run.index['model']}, {run.index['analyzer']}" if run.index else ""
    title = (
        f"{run.dataset} ({run.split}): {len(run.questions)} questions, {filled['documents']:,} documents, "
        f"{filled['passages']:,} passages{index}"
    )
    _print(console, Text(line(title), style="bold"))
    _print(console, _figures(run.modes))
    if any(mode.timing for mode in run.modes.values()):
        _print(console, _times(run.modes))
    for text in _problems(run):
        _print(console, text)


def show_comparison(console: Console, comparison: Comparison) -> None:
    """Print how two runs differ, figure by figure, and the questions that changed most."""
    left_out = f", {comparison.left_out} left out as only one has them" if comparison.left_out else ""
    names = f"{line(comparison.first)} (before) and {line(comparison.second)} (after)"
    _print(console, Text(f"{names}: {comparison.questions} questions{left_out}", style="bold"))
    table = _table("figure", "before", "after", "difference", "95 % interval", "p", "better / worse / same")
    for name, one in comparison.differences.items():
        table.add_row(*_difference(written(name), one))
    _print(console, table)
    if comparison.changed:
        _print(console, Text(f"\nchanged most, by {written(comparison.metric)}", style="bold"))
    for changed in comparison.changed:
        _print(console, _change(changed))


def _figures(modes: Mapping[str, ModeRun]) -> Table:
    names = list(next(iter(modes.values())).figures)
    table = _table("mode", *(written(name) for name in names))
    for mode, record in modes.items():
        table.add_row(mode, *(f"{record.figures[name]:.4f}" for name in names))
    return table


def _times(modes: Mapping[str, ModeRun]) -> Table:
    table = _table("ms", "p50", "p95", "p99", "embedding p50", "search p50", "search p95", "queries/s", "callers")
    for mode, record in modes.items():
        if (took := record.timing) is not None:
            parts = (
                took.p50_ms,
                took.p95_ms,
                took.p99_ms,
                took.embedding_p50_ms,
                took.search_p50_ms,
                took.search_p95_ms,
            )
            table.add_row(mode, *(f"{part:.1f}" for part in (*parts, took.queries_per_s)), str(took.callers))
    return table


def _problems(run: Run) -> list[Text]:
    failed: Mapping[str, str] = run.filled["failed"]
    names = ", ".join(f"{line(name)} ({reason})" for name, reason in list(failed.items())[:_MOST_FAILED])
    more = f" and {len(failed) - _MOST_FAILED} more" if len(failed) > _MOST_FAILED else ""
    found = [Text(f"{len(failed)} documents are not searchable: {names}{more}", style="red")] if failed else []
    for mode, record in run.modes.items():
        for notice, count in record.notices.items():
            found.append(Text(f"{mode}: {count} answers were degraded, {line(notice)}", style="red"))
    return found


def _difference(name: str, one: Difference) -> tuple[str, str, str, str, str, Text, str]:
    sure = one.p_value < _LUCK
    return (
        name,
        f"{one.first:.4f}",
        f"{one.second:.4f}",
        f"{one.mean:+.4f}",
        f"{one.low:+.4f} to {one.high:+.4f}",
        Text(f"{one.p_value:.4f}", style="bold" if sure else "dim"),
        f"{one.better} / {one.worse} / {one.same}",
    )


def _change(changed: Changed) -> Text:
    text = Text.assemble(
        (f"  {changed.first:.3f} -> {changed.second:.3f}  ", "bold"), f"{line(changed.id)}  {line(changed.text)}"
    )
    for when, found in (("before", changed.found_first), ("after", changed.found_second)):
        text.append(f"\n      {when:<6} {', '.join(line(name) for name in found[:3])}", style="dim")
    return text


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _print(console: Console, what: Table | Text) -> None:
    """Whole in a pipe, which would be cut at 80 columns."""
    target = console if console.is_terminal else Console(file=console.file, highlight=False, width=_PIPE_WIDTH)
    target.print(what, soft_wrap=isinstance(what, Text))
