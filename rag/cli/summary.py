"""The end of a run over many documents: how many became what, and which failed for what reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.text import Text

from rag.cli.ingesting import Outcome
from rag.cli.plain import line

_MOST_NAMES = 20


def summary(outcomes: Sequence[Outcome], seconds: float, more: Sequence[str] = ()) -> list[Text]:
    """Return the lines of a summary: first what failed, by reason, then the counts.

    Args:
        outcomes: Of all documents.
        seconds: How long it took in all.
        more: More counts, such as `2 unchanged`.
    """
    bad: dict[tuple[str, str], list[str]] = {}
    for outcome in outcomes:
        if not outcome.is_good:
            bad.setdefault((outcome.reason or outcome.state.upper(), outcome.message), []).append(outcome.item.name)
    lines = [part for (reason, message), names in bad.items() for part in _group(reason, message, sorted(names))]
    counts = Counter(outcome.state for outcome in outcomes)
    told = ", ".join([*(f"{count} {state}" for state, count in counts.most_common()), *more])
    if not outcomes:
        return [Text(f"nothing to do: {told or 'no files'}", style="bold")]
    passages = sum(outcome.job.progress.passages_indexed for outcome in outcomes)
    files = f"{len(outcomes)} file{'' if len(outcomes) == 1 else 's'}"
    lines.append(Text(f"{files} in {seconds:.1f} s: {told}; {passages:,} passages", style="bold"))
    return lines


def _group(reason: str, message: str, names: Sequence[str]) -> list[Text]:
    lines = [Text.assemble((reason, "red"), f"  {line(message)}")]
    lines += [Text(f"    {line(name)}") for name in names[:_MOST_NAMES]]
    if len(names) > _MOST_NAMES:
        lines.append(Text(f"    and {len(names) - _MOST_NAMES} more"))
    return lines
