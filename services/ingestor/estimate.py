"""How long a document will still take."""

from __future__ import annotations

from services.ingestor.jobs import Progress


def seconds_left(progress: Progress, page_split: int, spent_s: float, *, is_split: bool) -> float | None:
    """The seconds until the last passage is indexed, if the rest takes as long as what is done; None without a basis.

    Args:
        progress: What is done.
        page_split: The last page that was cut into passages; 0 for none.
        spent_s: How long that took, in seconds.
        is_split: Whether all passages are known.
    """
    if not progress.passages_indexed:
        return None
    part_known = 1.0 if is_split else page_split / progress.pages_total if progress.pages_total else 0.0
    done = min(1.0, part_known) * progress.passages_indexed / progress.passages
    return round(spent_s * (1 - done) / done, 1) if done else None
