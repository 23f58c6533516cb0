"""Which sentences of an answer their citations support."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence

from services.generator.citing.quotes import share
from services.generator.events import Citation
from services.generator.texts import sentences, words

_LEAST = 0.34
"""The share of a sentence's words that its quotes must hold together."""
_ASKS_OR_LEADS = ("?", "？", ":", "：")


def unsupported(text: str, citations: Sequence[Citation]) -> int:
    """Return how many sentences of an answer state something that no citation of theirs supports.

    A citation belongs to the sentence that its marker ends or follows. Questions, headings, and lead-ins that end with a colon
    state nothing. What was said to be missing is a statement too: no source can be cited for it, so it counts.

    Args:
        text: The answer with its markers.
        citations: In the order of their markers.
    """
    bare, places = _without_markers(text, citations)
    spans = sentences.spans(bare)
    starts = [start for start, _ in spans]
    quotes: dict[int, list[str]] = defaultdict(list)
    for citation, place in zip(citations, places, strict=True):
        # A marker that stands before the first sentence of a text belongs to that one.
        quotes[max(0, bisect_right(starts, place - 1) - 1)].append(citation.quote)
    return sum(_lacks_support(bare[start:end], quotes[number]) for number, (start, end) in enumerate(spans))


def _without_markers(text: str, citations: Sequence[Citation]) -> tuple[str, list[int]]:
    """Return a text without its markers, and where each stood."""
    parts: list[str] = []
    places: list[int] = []
    at = length = 0
    for citation in citations:
        part = text[at : citation.char_start]
        parts.append(part.rstrip() if text[citation.char_end : citation.char_end + 1] in {".", ""} else part)
        length += len(parts[-1])
        places.append(length)
        at = citation.char_end
    return "".join((*parts, text[at:])), places


def _lacks_support(sentence: str, quotes: Sequence[str]) -> bool:
    if sentence.startswith("#") or sentence.endswith(_ASKS_OR_LEADS):
        return False
    said = frozenset(words.content_stems(sentence))
    return bool(said) and share(said, quotes) < _LEAST
