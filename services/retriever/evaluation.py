"""The figures of the last evaluations: kept, and exported as metrics, also after a restart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rag.ids import check_id
from rag.runtime.backoff import retrying
from rag.runtime.errors import InvalidInput, Unavailable
from rag.runtime.logs import get_logger
from services.retriever.metrics import NDCG_AT_10, PRECISION_AT_5, RECALL_AT_10
from services.retriever.retrieval.query import Mode

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Figures:
    """What one dataset gave in one mode, each figure from 0 to 1. Checked when made."""

    dataset: str
    mode: Mode
    queries: int
    precision_at_5: float
    ndcg_at_10: float
    recall_at_10: float

    def __post_init__(self) -> None:
        """Raise `InvalidInput` BAD_ID or BAD_FIGURES."""
        check_id(self.dataset, "dataset")
        if self.queries < 1:
            raise InvalidInput("queries must be at least 1.", "BAD_FIGURES")
        for name, value in (
            ("precision_at_5", self.precision_at_5),
            ("ndcg_at_10", self.ndcg_at_10),
            ("recall_at_10", self.recall_at_10),
        ):
            if not 0 <= value <= 1:  # false for NaN too
                raise InvalidInput(f"{name} must be a number from 0 to 1.", "BAD_FIGURES")


class EvaluationStore(Protocol):
    """Keeps the figures of the last evaluations, one for each dataset and mode. All raise Unavailable when it is away."""

    async def keep(self, figures: Figures) -> Sequence[tuple[str, Mode]]:
        """Keep figures in place of earlier ones; return the dataset and mode of those that were dropped to make room."""
        ...

    async def all(self) -> Sequence[Figures]:
        """Return all figures that are kept."""
        ...


class Evaluations:
    """Keeps figures and shows them. The metrics name a dataset, so the store bounds how many there are."""

    def __init__(self, store: EvaluationStore) -> None:
        self._store = store

    async def report(self, figures: Figures) -> None:
        """Keep figures and export them."""
        dropped = await self._store.keep(figures)
        for dataset, mode in dropped:
            for gauge in (PRECISION_AT_5, NDCG_AT_10, RECALL_AT_10):
                gauge.remove(dataset, mode.value)
        _show(figures)
        log.info("evaluation_reported", dataset=figures.dataset, mode=figures.mode.value, queries=figures.queries)

    async def run(self, first_pause_s: float = 0.5, most_pause_s: float = 30.0) -> None:
        """Export what was reported before this process began, as soon as the store answers."""

        def tell(error: Exception, _pause_s: float) -> None:
            log.info("evaluations_not_read_yet", reason=getattr(error, "reason", ""))

        kept = await retrying(self._store.all, _is_away, first_pause_s, most_pause_s, before_pause=tell)
        for figures in kept:
            _show(figures)


def _is_away(error: Exception) -> bool:
    return isinstance(error, Unavailable)


def _show(figures: Figures) -> None:
    labels = figures.dataset, figures.mode.value
    PRECISION_AT_5.labels(*labels).set(figures.precision_at_5)
    NDCG_AT_10.labels(*labels).set(figures.ndcg_at_10)
    RECALL_AT_10.labels(*labels).set(figures.recall_at_10)
