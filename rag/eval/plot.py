"""Runs side by side as a picture: a panel for each mode, a group of bars for each figure, a bar for each run."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rag.eval.runs import Run
from rag.runtime.errors import FailedPrecondition, InvalidInput

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = ("#9db4c0", "#5c9ead", "#326273", "#e39774", "#c75146", "#6a4c93")
MOST_RUNS = len(_COLOURS)
_PANEL_INCHES, _HEIGHT_INCHES = 6.4, 4.4
_DPI = 110


def check_plots() -> None:
    """Raise FailedPrecondition NO_MATPLOTLIB when nothing can be drawn here."""
    if importlib.util.find_spec("matplotlib") is None:
        raise FailedPrecondition("Plots need matplotlib: install ragmesh[eval].", "NO_MATPLOTLIB")


def plot(runs: Sequence[Run], path: Path) -> None:
    """Draw runs of one dataset, the oldest first, and write a PNG.

    Raises:
        FailedPrecondition: NO_MATPLOTLIB.
        InvalidInput: TOO_MANY_RUNS, NOTHING_TO_PLOT.
    """
    check_plots()
    if len(runs) > MOST_RUNS:
        raise InvalidInput(f"These are {len(runs)} runs; at most {MOST_RUNS} fit in one picture.", "TOO_MANY_RUNS")
    modes = list(dict.fromkeys(mode for run in runs for mode in run.modes))
    if not modes:
        raise InvalidInput("There is no run to plot.", "NOTHING_TO_PLOT")
    # Without pyplot: it keeps every figure, and asks for a screen.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_PANEL_INCHES * len(modes), _HEIGHT_INCHES), dpi=_DPI, layout="constrained")
    for axes, mode in zip(figure.subplots(1, len(modes), squeeze=False, sharey=True)[0], modes, strict=True):
        _draw(axes, runs, mode)
    first = runs[0]
    figure.suptitle(f"{first.dataset} ({first.split}), {len(first.questions)} questions")
    handles, labels = max((axes.get_legend_handles_labels() for axes in figure.axes), key=lambda pair: len(pair[1]))
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(runs), 3), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")


def _draw(axes: Axes, runs: Sequence[Run], mode: str) -> None:
    names = list(dict.fromkeys(name for run in runs if mode in run.modes for name in run.modes[mode].figures))
    width = 0.84 / len(runs)
    for number, run in enumerate(runs):
        if mode not in run.modes:
            continue
        figures = run.modes[mode].figures
        places = [place + (number - (len(runs) - 1) / 2) * width for place, name in enumerate(names) if name in figures]
        heights = [figures[name] for name in names if name in figures]
        bars = axes.bar(places, heights, width, label=run.name, color=_COLOURS[number])
        axes.bar_label(bars, fmt="%.3f", fontsize=6, rotation=90, padding=2)
    axes.set_title(mode, fontsize=10)
    axes.set_xticks(range(len(names)), [_written(name) for name in names], rotation=20, fontsize=8)
    axes.set_ylim(0, 1.12)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    axes.set_axisbelow(True)


def _written(name: str) -> str:
    """The name of a figure as people write it."""
    known = {"ndcg_at_10": "nDCG@10", "mrr_at_10": "MRR@10", "token_iou": "IoU"}
    return known.get(name, name.replace("_at_", "@").replace("_", " "))
