"""How well passages cover the excerpts that answer a question: recall, precision and IoU of "Evaluating Chunking Strategies for Retrieval" (Chroma, 2024).

The report speaks of tokens and its published code counts characters; so do we, to be comparable. A span is `[start, end)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Span = tuple[int, int]


def figures_of(excerpts: Sequence[Span], passages: Sequence[Span], elsewhere: int) -> Mapping[str, float]:
    """Return the figures of one question.

    Args:
        excerpts: What answers it, in one document.
        passages: What was found in this document, overlaps and repetitions included.
        elsewhere: How many characters were found in other documents.
    """
    wanted = merged(excerpts)
    covered = length(_shared(wanted, merged(passages)))
    # What is found twice is paid for twice: the reader reads it twice.
    read = length(passages) + elsewhere
    missed = length(wanted) - covered
    return {
        "token_recall": covered / length(wanted) if wanted else 0.0,
        "token_precision": covered / read if read else 0.0,
        "token_iou": covered / (read + missed) if read + missed else 0.0,
    }


def length(spans: Sequence[Span]) -> int:
    """Return the sum of their lengths."""
    return sum(end - start for start, end in spans)


def merged(spans: Sequence[Span]) -> list[Span]:
    """Return the same characters as spans in order that do not touch."""
    joined: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _shared(first: Sequence[Span], second: Sequence[Span]) -> list[Span]:
    """Return the characters in both; each of the two is merged."""
    pairs = [(max(a, c), min(b, d)) for a, b in first for c, d in second]
    return [(start, end) for start, end in pairs if start < end]
