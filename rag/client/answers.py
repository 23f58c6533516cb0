"""Questions: what the generator answers, and what the search beneath it finds."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from rag.client.connection import Connection
from rag.v1 import generator_pb2, passage_pb2, retriever_pb2

_ANY_MODE = retriever_pb2.RETRIEVAL_MODE_UNSPECIFIED


class Answers(Connection):
    """Asks and searches."""

    async def ask(
        self,
        question: str,
        *,
        top_k: int | None = None,
        mode: retriever_pb2.RetrievalMode.ValueType = _ANY_MODE,
        min_score: float | None = None,
        search_filter: passage_pb2.Filter | None = None,
        history: Sequence[generator_pb2.Turn] = (),
        max_tokens: int | None = None,
        temperature: float | None = None,
        use_cache: bool | None = None,
    ) -> AsyncGenerator[generator_pb2.GenerateResponse, None]:
        """Stream an answer as events, in the order that the contract gives. Leaving the stream stops the model."""
        request = generator_pb2.GenerateRequest(
            question=question,
            top_k=top_k,
            mode=mode,
            min_score=min_score,
            filter=search_filter,
            history=history,
            max_tokens=max_tokens,
            temperature=temperature,
            use_cache=use_cache,
        )
        self._begin()
        async with aclosing(self._peer.stream(self._generator.Generate, request)) as events:
            async for event in events:
                yield event

    async def retrieve(
        self,
        query: str,
        *,
        top_k: int | None = None,
        mode: retriever_pb2.RetrievalMode.ValueType = _ANY_MODE,
        min_score: float | None = None,
        search_filter: passage_pb2.Filter | None = None,
        per_document: int | None = None,
        rerank: bool | None = None,
        use_cache: bool | None = None,
    ) -> AsyncGenerator[retriever_pb2.RetrieveResponse, None]:
        """Stream a search as events: its stages, the hits in the order of their rank, and a summary."""
        request = retriever_pb2.RetrieveRequest(
            query=query,
            top_k=top_k,
            mode=mode,
            min_score=min_score,
            filter=search_filter,
            per_document=per_document,
            rerank=rerank,
            use_cache=use_cache,
        )
        self._begin()
        async with aclosing(self._peer.stream(self._catalogue.Retrieve, request)) as events:
            async for event in events:
                yield event

    async def search(
        self,
        query: str,
        *,
        top_k: int | None = None,
        mode: retriever_pb2.RetrievalMode.ValueType = _ANY_MODE,
        min_score: float | None = None,
        search_filter: passage_pb2.Filter | None = None,
        per_document: int | None = None,
    ) -> list[retriever_pb2.Hit]:
        """Return the passages that match a query, best first, with the scores of both legs."""
        events = self.retrieve(
            query,
            top_k=top_k,
            mode=mode,
            min_score=min_score,
            search_filter=search_filter,
            per_document=per_document,
        )
        async with aclosing(events):
            return [event.hit async for event in events if event.HasField("hit")]
