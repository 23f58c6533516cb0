"""One ranking from two legs, by a weighted sum of their scores: how far a place is ahead counts, which ranks do not tell.

Source: Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", 2022.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

K = TypeVar("K", bound=Hashable)

SHARE = 0.35
"""Of the dense leg where its model reads the query's language. Chosen on training queries."""
FOREIGN_SHARE = 0.15
"""Of a model that was not trained on it: names and numbers still bring the right passages a little forward."""

_LANGUAGES = {"all-MiniLM-L6-v2": frozenset({"en"})}
"""What a model reads, where that is not every language."""


def fuse(
    dense: Sequence[tuple[K, float]], keyword: Sequence[tuple[K, float]], share: float = SHARE
) -> list[tuple[K, float]]:
    """Return every key once with its fused score, 0 to 1, best first.

    Similarities become 1 for the nearest and 0 for the farthest found: what two unrelated texts have depends on the model.
    BM25 has a zero of its own, so its scores are divided by the best. A key that a leg did not find has 0 from it. Of two keys with equal scores the one that `dense` placed first comes first, so the order is the same each time.

    Args:
        dense: Cosine similarities, best first, without repetition.
        keyword: BM25 scores, in the same form.
        share: What the dense leg counts, 0 to 1; the keyword leg counts the rest. A leg alone counts whole.
    """
    if not dense or not keyword:
        share = 1.0 if dense else 0.0
    by_meaning = _between(dense, min((score for _, score in dense), default=0.0))
    by_words = _between(keyword, 0.0)
    scores = {
        key: share * by_meaning.get(key, 0.0) + (1.0 - share) * by_words.get(key, 0.0)
        for key in (*by_meaning, *by_words)
    }
    return sorted(scores.items(), key=lambda entry: -entry[1])


def dense_share(language: str, model: str) -> float:
    """Return the share of the dense leg for a query.

    Args:
        language: The query's, as ISO 639-1; "" where it is not clear, which short English queries often are.
        model: The name of the model that made the vectors.
    """
    languages = _LANGUAGES.get(model)
    return SHARE if not language or languages is None or language in languages else FOREIGN_SHARE


def _between(ranking: Sequence[tuple[K, float]], lowest: float) -> Mapping[K, float]:
    """The scores as parts of the way from the lowest to the best; all are best where there is no way."""
    span = max((score for _, score in ranking), default=lowest) - lowest
    return {key: (score - lowest) / span if span > 0 else 1.0 for key, score in ranking}
