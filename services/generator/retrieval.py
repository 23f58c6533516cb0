"""The port to the retriever."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from rag.passage import Passage
from services.generator.events import Notice, Stage
from services.generator.question import Question


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage found."""

    passage: Passage
    title: str
    score: float
    dense_score: float | None = None
    keyword_score: float | None = None
    rerank_score: float | None = None


class Retriever(Protocol):
    """Finds the passages that match a question."""

    def retrieve(self, question: Question) -> AsyncGenerator[Stage | Hit | Notice]:
        """Yield each stage as it begins, then hits in rank order, then what was degraded.

        It asks for hits of the tenant of the current call only. Leaving the iterator ends the search. A failure raises
        a RagError; a search that ended early is a failure.
        """
        ...
