"""How good a ranking is, as trec_eval and BEIR define it.

A ranking is the ids of documents, best first, each once. Grades say how well a document answers; what is not graded, or 0 or less, does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log2


def figures_of(ranking: Sequence[str], grades: Mapping[str, int]) -> Mapping[str, float]:
    """Return all figures of one ranking, the one that BEIR compares by first."""
    return {
        "ndcg_at_10": ndcg(ranking, grades, 10),
        "recall_at_5": recall(ranking, grades, 5),
        "recall_at_10": recall(ranking, grades, 10),
        "recall_at_100": recall(ranking, grades, 100),
        "mrr_at_10": reciprocal_rank(ranking, grades, 10),
        "precision_at_5": precision(ranking, grades, 5),
    }


def ndcg(ranking: Sequence[str], grades: Mapping[str, int], k: int) -> float:
    """Return the discounted gain of the first k, as a share of what the best order would have."""
    best = _gain(sorted(grades.values(), reverse=True)[:k])
    return _gain([grades.get(document, 0) for document in ranking[:k]]) / best if best else 0.0


def recall(ranking: Sequence[str], grades: Mapping[str, int], k: int) -> float:
    """Return the share of the documents that answer which is among the first k."""
    there_are = sum(grade > 0 for grade in grades.values())
    return _answering(ranking, grades, k) / there_are if there_are else 0.0


def precision(ranking: Sequence[str], grades: Mapping[str, int], k: int) -> float:
    """Return the share of the first k places whose documents answer; a place that is empty does not."""
    return _answering(ranking, grades, k) / k


def reciprocal_rank(ranking: Sequence[str], grades: Mapping[str, int], k: int) -> float:
    """Return 1 divided by the rank of the first document that answers; 0 when it is not among the first k."""
    return next((1 / rank for rank, document in enumerate(ranking[:k], 1) if grades.get(document, 0) > 0), 0.0)


def _answering(ranking: Sequence[str], grades: Mapping[str, int], k: int) -> int:
    return sum(grades.get(document, 0) > 0 for document in ranking[:k])


def _gain(grades: Sequence[int]) -> float:
    return sum(max(grade, 0) / log2(rank + 1) for rank, grade in enumerate(grades, 1))
