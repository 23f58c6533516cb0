"""The picture of `make bench-stream`: tokens a second, and the wait for the first one, over the number of streams."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.report import RESULTS

_PANELS = {"tokens/s": "tokens a second, all streams together", "p95 ": "first token, p95 in ms"}


def plot(rows: Sequence[Mapping[str, Any]]) -> Path:
    """Draw the rows; return the path of the picture."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(_PANELS), figsize=(11, 4.2))
    for panel, (column, title) in zip(panels, _PANELS.items(), strict=True):
        for name in dict.fromkeys(row["target"] for row in rows):
            own = [row for row in rows if row["target"] == name]
            panel.plot([row["streams"] for row in own], [row[column] for row in own], marker="o", label=name)
        panel.set(title=title, xlabel="streams at a time", xscale="log", yscale="log")
        panel.grid(visible=True, which="both", alpha=0.25)
        panel.legend(frameon=False)
    figure.tight_layout()
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"stream-{time.strftime('%Y%m%d-%H%M%S')}.png"
    figure.savefig(path, dpi=110)
    return path
