"""The cache of answers from outside: a real retriever and a real index, a real generator, a hundred documents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from rag.cli.own_services import free_ports
from rag.runtime.redis import open_redis
from rag.runtime.server import serving
from rag.v1 import generator_pb2 as pb
from rag.v1 import generator_pb2_grpc, retriever_pb2
from services.generator.metrics import ANSWER_CACHE
from services.generator.settings import GeneratorSettings
from services.generator.wiring import wire
from tests.retriever.room import Retriever, embedder, fresh_database, of, retriever
from tests.waiting import until

COUNT = 100
_AT_ONCE = 8


@dataclass
class House:
    documents: Retriever
    stub: generator_pb2_grpc.GeneratorServiceStub

    async def ask(self, tenant: str, question: str, **fields) -> tuple[str, pb.Usage, list[str]]:
        """The answer's text, what it cost, and the kinds of its events."""
        request = pb.GenerateRequest(question=question, mode=retriever_pb2.RETRIEVAL_MODE_KEYWORD, top_k=5, **fields)
        call = self.stub.Generate(request, metadata=of(tenant), timeout=60)
        events = [event async for event in call]
        [usage] = [event.usage for event in events if event.HasField("usage")]
        kinds = [event.WhichOneof("event") for event in events]
        return "".join(event.token.text for event in events), usage, kinds

    async def ask_all(self, tenant: str) -> dict[int, tuple[str, bool]]:
        """Each question about two documents that stand side by side: the answer, and whether it came from the cache."""
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(number: int) -> tuple[str, bool]:
            async with slots:
                text, usage, _ = await self.ask(tenant, f"alpha{number} alpha{number + 1}")
                return text, usage.from_cache

        return dict(enumerate(await asyncio.gather(*(one(number) for number in range(COUNT - 1)))))

    async def made_anew(self, tenant: str, expected: set[int]) -> dict[int, tuple[str, bool]]:
        """Ask all questions; those expected are made anew, the others cached.

        On a busy machine the cache may be late, which is counted; then one more is made anew, and as true.
        """
        before = bypasses()
        answers = await self.ask_all(tenant)
        made = not_from_cache(answers)
        assert expected <= made
        assert len(made - expected) <= bypasses() - before
        return answers

    async def index(self, tenant: str, number: int, colour: str) -> None:
        await self.documents.index(tenant, f"d{number}", [f"The alpha{number} is {colour}."])

    async def kept(self, tenant: str) -> bytes:
        async with open_redis(self.documents.redis_url) as redis:
            keys = [key async for key in redis.scan_iter(f"rag:{tenant}:answer:*", 1_000)]
            return b"".join([value for key in keys for value in (await redis.hgetall(key)).values()])


@pytest.fixture
async def house(redis_url: str, tmp_path: Path) -> AsyncIterator[House]:
    database, [port] = await fresh_database(redis_url), free_ports(1)
    async with (
        embedder() as embedder_port,
        retriever(tmp_path, database, embedder_port, generator_address=f"127.0.0.1:{port}") as documents,
    ):
        chosen = GeneratorSettings(
            port=port,
            metrics_port=0,
            provider="extractive",
            retriever_address=documents.address,
            embedder_address=f"127.0.0.1:{embedder_port}",
            redis_url=database,
            lame_duck_ms=0,
            drain_grace_ms=500,
        )
        async with (
            wire(chosen) as room,
            serving(chosen, room),
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            await until(documents.room.is_ready)
            await until(room.is_ready)
            yield House(documents, generator_pb2_grpc.GeneratorServiceStub(channel))


def bypasses() -> float:
    [metric] = ANSWER_CACHE.collect()
    return sum(sample.value for sample in metric.samples if sample.labels.get("result") == "bypass")


def not_from_cache(answers: dict[int, tuple[str, bool]]) -> set[int]:
    return {number for number, (_, from_cache) in answers.items() if not from_cache}


async def test_a_change_of_one_document_in_a_hundred_ends_the_answers_that_used_it_and_no_other(
    house: House, tenant: str
) -> None:
    for number in range(COUNT):
        await house.index(tenant, number, "green")
    # The first answer of a process loads what the others need, and is late for the cache.
    await house.ask(tenant, "alpha1")
    first = await house.ask_all(tenant)
    assert not_from_cache(first) == set(first)
    assert all(f"alpha{number} is green" in text for number, (text, _) in first.items())

    again = await house.made_anew(tenant, set())
    assert {number: text for number, (text, _) in again.items()} == {
        number: text for number, (text, _) in first.items()
    }

    await house.index(tenant, 42, "purple")
    updated = await house.made_anew(tenant, {41, 42})
    assert all("alpha42 is purple" in updated[number][0] for number in (41, 42))
    assert not any("alpha42 is green" in text for text, _ in updated.values())

    await house.documents.index(tenant, "new", ["The alpha77 is alpha77 and yellow."])
    added = await house.made_anew(tenant, {76, 77})
    assert "yellow" in added[77][0]

    await house.documents.delete(tenant, "d10")
    deleted = await house.made_anew(tenant, {9, 10})
    assert not any("alpha10 is" in text for text, _ in deleted.values())
    await house.documents.swept()
    assert b"alpha10 is" not in await house.kept(tenant)
    assert not_from_cache(await house.ask_all(tenant)) == set()


async def test_a_cached_answer_replays_the_same_events_and_says_where_it_is_from(house: House, tenant: str) -> None:
    await house.index(tenant, 1, "green")
    text, usage, kinds = await house.ask(tenant, "alpha1")
    replayed, from_cache, replayed_kinds = await house.ask(tenant, "alpha1 ")
    assert replayed == text
    assert (usage.cache_layer, usage.from_cache) == (pb.CACHE_LAYER_NONE, False)
    assert (from_cache.cache_layer, from_cache.from_cache) == (pb.CACHE_LAYER_EXACT, True)
    assert (from_cache.provider, from_cache.model) == (usage.provider, usage.model)

    def shape(names: list[str]) -> list[str]:
        return [name for at, name in enumerate(names) if name != "progress" and names[at - 1 : at] != [name]]

    assert shape(replayed_kinds) == shape(kinds)
    assert not (await house.ask(tenant, "alpha1", use_cache=False))[1].from_cache
    assert not (await house.ask(f"{tenant}-2", "alpha1"))[1].from_cache
