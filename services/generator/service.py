"""The servicer of the generator: protobuf in, domain, protobuf out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from rag.ids import check_id
from rag.runtime.context import current
from rag.v1 import generator_pb2 as pb
from rag.v1 import generator_pb2_grpc
from services.generator.answering import Answering
from services.generator.caching.answers import AnswerCache
from services.generator.messages.answers import from_event
from services.generator.messages.questions import to_asked
from services.generator.question import Defaults, checked


class GeneratorServicer(generator_pb2_grpc.GeneratorServiceServicer):
    """Serves `rag.v1.GeneratorService`."""

    def __init__(self, answering: Answering, cache: AnswerCache, defaults: Defaults) -> None:
        self._answering = answering
        self._cache = cache
        self._defaults = defaults

    async def Generate(self, request: pb.GenerateRequest, context: Any) -> AsyncIterator[pb.GenerateResponse]:
        """Answer a question as events, numbered from 1."""
        question = checked(to_asked(request), self._defaults)
        call = current()
        sequence = 0
        async with aclosing(self._answering.answer(call.tenant, question, call.request_id)) as answer:
            async for event in answer:
                sequence += 1
                yield from_event(sequence, event)

    async def ForgetAnswers(self, request: pb.ForgetAnswersRequest, context: Any) -> pb.ForgetAnswersResponse:
        """Erase the cached answers that were made from a document, or all of the tenant."""
        tenant = current().tenant
        if not request.document_id:
            return pb.ForgetAnswersResponse(forgotten=await self._cache.forget_all(tenant))
        document_id = check_id(request.document_id, "document_id")
        return pb.ForgetAnswersResponse(forgotten=await self._cache.forget(tenant, document_id))
