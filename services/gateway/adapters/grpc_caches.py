"""The caches of generator and retriever, over their internal methods."""

from __future__ import annotations

from rag.runtime.peers import Peer
from rag.v1 import generator_pb2, retriever_pb2
from rag.v1.generator_pb2_grpc import GeneratorServiceStub
from rag.v1.retriever_pb2_grpc import RetrieverServiceStub
from services.gateway.caches import Erased


class GrpcCaches:
    """Calls both on behalf of the gateway itself, since no caller may.

    Args:
        generator: A peer that is called as a service.
        retriever: Another.
    """

    def __init__(self, generator: Peer, retriever: Peer) -> None:
        self._generator, self._retriever = generator, retriever
        self._answers = GeneratorServiceStub(generator.channel)
        self._rankings = RetrieverServiceStub(retriever.channel)

    async def erase(self) -> Erased:
        """Erase rankings, then answers: an answer made in between is made from a ranking of its own."""
        rankings = await self._retriever.unary(self._rankings.ForgetRankings, retriever_pb2.ForgetRankingsRequest())
        answers = await self._generator.unary(self._answers.ForgetAnswers, generator_pb2.ForgetAnswersRequest())
        return Erased(answers.forgotten, rankings.forgotten)
