"""Searching once more for a question whose answer is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing

from services.generator.events import Notice, Source
from services.generator.question import Question
from services.generator.retrieval import Hit, Retriever


class Refinding:
    """Finds the sources that a question would have now.

    Args:
        retriever: Finds the passages.
        select: Chooses those that a prompt has room for.
    """

    def __init__(self, retriever: Retriever, select: Callable[[Sequence[Hit]], Sequence[Source]]) -> None:
        self._retriever = retriever
        self._select = select

    async def sources(self, question: Question) -> Sequence[Source] | None:
        """Return them; None when something was left out of the search.

        Raises:
            RagError: when the search fails.
        """
        hits: list[Hit] = []
        async with aclosing(self._retriever.retrieve(question)) as found:
            async for item in found:
                if isinstance(item, Notice):
                    return None
                if isinstance(item, Hit):
                    hits.append(item)
        return self._select(hits)
