"""Tenants take turns at the language model."""

from __future__ import annotations

import asyncio
import json

from rag.runtime.mesh import TENANT
from rag.v1 import generator_pb2 as pb
from tests.doubles.fixtures import ModelServer
from tests.generator.making import SKY, FakeRetriever, found, kinds, serving_generator
from tests.waiting import until


async def test_a_tenant_with_one_question_does_not_wait_behind_all_of_another(
    retriever: FakeRetriever, model_server: ModelServer
) -> None:
    retriever.responses = found(SKY)
    model_server.script(first_delay_ms=100, times=None)
    settings = {"provider": "openai", "openai_base_url": model_server.base_url, "parallel_answers": 1}
    async with serving_generator(retriever.address, **settings) as stub:

        async def ask(tenant: str, question: str) -> list[pb.GenerateResponse]:
            request = pb.GenerateRequest(question=question, use_cache=False)
            return [event async for event in stub.Generate(request, metadata=((TENANT, tenant),), timeout=30)]

        many = [asyncio.create_task(ask("noisy", f"What colour is the sky, {number}?")) for number in range(8)]
        await until(lambda: len(retriever.requests) == 8)
        asking = asyncio.create_task(ask("quiet", "What colour is the sky, quietly?"))
        await until(lambda: len(retriever.requests) == 9)
        begun = len(model_server.requests())
        one = await asking
        assert kinds(one)[-1] == "done"
        assert all(kinds(events)[-1] == "done" for events in await asyncio.gather(*many))
    asked = [json.dumps(request["body"]) for request in model_server.requests()]
    assert len(asked) == 9
    # One may have been next when the quiet one came.
    assert next(place for place, body in enumerate(asked) if "quietly" in body) <= begun + 1
