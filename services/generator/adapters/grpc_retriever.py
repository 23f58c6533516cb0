"""Finds passages by asking the retriever service."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from rag.passage_proto import from_proto
from rag.runtime.errors import Unavailable
from rag.runtime.peers import Peer
from rag.v1 import passage_pb2, retriever_pb2, retriever_pb2_grpc
from services.generator.events import Notice, Stage
from services.generator.question import Mode, Question
from services.generator.retrieval import Hit

_MODES = {
    Mode.HYBRID: retriever_pb2.RETRIEVAL_MODE_HYBRID,
    Mode.DENSE: retriever_pb2.RETRIEVAL_MODE_DENSE,
    Mode.KEYWORD: retriever_pb2.RETRIEVAL_MODE_KEYWORD,
}
_STAGES = {
    retriever_pb2.RETRIEVAL_STAGE_EMBEDDING: Stage.EMBEDDING,
    retriever_pb2.RETRIEVAL_STAGE_SEARCH: Stage.RETRIEVAL,
}


class GrpcRetriever:
    """A Retriever over the Retrieve stream."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._stub = retriever_pb2_grpc.RetrieverServiceStub(peer.channel)

    async def retrieve(self, question: Question) -> AsyncGenerator[Stage | Hit | Notice]:
        """Yield stages and hits as they come, and what was degraded at the end."""
        responses = self._peer.stream(self._stub.Retrieve, _request(question))
        async with aclosing(responses) as events:
            async for event in events:
                kind = event.WhichOneof("event")
                if kind == "hit":
                    yield _hit(event.hit)
                elif kind == "progress" and event.progress.stage in _STAGES:
                    yield _STAGES[event.progress.stage]
                elif kind == "summary":
                    for notice in event.summary.notices:
                        yield Notice(notice.code, notice.message)
                    return
        raise Unavailable("The search ended before its summary.", "RETRIEVAL_CUT")


def _hit(hit: retriever_pb2.Hit) -> Hit:
    legs = [
        getattr(hit, leg) if hit.HasField(leg) else None for leg in ("dense_score", "keyword_score", "rerank_score")
    ]
    return Hit(from_proto(hit.passage), hit.title, hit.score, *legs)


def _request(question: Question) -> retriever_pb2.RetrieveRequest:
    return retriever_pb2.RetrieveRequest(
        query=question.text,
        top_k=question.top_k,
        mode=_MODES[question.mode],
        min_score=question.min_score,
        filter=passage_pb2.Filter.FromString(question.filter) if question.filter else None,
    )
