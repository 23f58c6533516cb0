"""Answered questions of the same meaning, over a real Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import grpc
import numpy as np
import pytest

from rag.runtime import context
from rag.runtime.errors import Internal, RagError, Unavailable
from rag.runtime.peers import open_peer
from rag.runtime.redis import open_redis
from rag.runtime.server import Mount, Room, serving
from rag.runtime.settings import ServiceSettings
from rag.v1 import embedder_pb2 as pb
from rag.v1 import embedder_pb2_grpc
from rag.vectors import pack
from services.generator.adapters.grpc_question_vectors import GrpcQuestionVectors
from services.generator.adapters.redis_questions import RedisQuestions, questions_key
from services.generator.caching.alike import MAX_CHARS, Alike, Embedded
from services.generator.caching.mirrors import MAX_QUESTIONS, Mirrors, Noted, Update

TTL_S = 600
RESTART, AGAIN = "How do I restart the worker?", "Can you tell me how to restart the worker?"
NOT_THE_SAME = "How do I restart the worker without Redis?"


class NearVectors:
    """Makes the same vector of every text but the ones named, so that only the guards part them."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.far: set[str] = set()
        self.model = "model@1"
        self.held: asyncio.Event | None = None

    async def embed(self, text: str) -> Embedded:
        self.texts.append(text)
        if self.held:
            await self.held.wait()
        return Embedded(self.model, vector(1 if text in self.far else 0))


def vector(axis: int, dimension: int = 4) -> np.ndarray:
    return np.eye(dimension, dtype=np.float32)[axis]


def noted(number: int, key: str = "", axis: int = 0, dimension: int = 4) -> Noted:
    return Noted(
        f"{int(time.time() * 1000)}-{number}", key or f"k{number}", f"Question {number}?", vector(axis, dimension)
    )


@pytest.fixture
def vectors() -> NearVectors:
    return NearVectors()


@pytest.fixture
def questions(redis) -> RedisQuestions:
    return RedisQuestions(redis)


@pytest.fixture
def alike(vectors, questions) -> Alike:
    return Alike(vectors, questions, 0.9, lambda _: TTL_S)


@pytest.fixture
def call(tenant) -> Iterator[None]:
    with context.bound(context.new_call(tenant, 30)):
        yield


async def test_a_question_of_the_same_meaning_is_found(alike, vectors, tenant) -> None:
    assert await alike.nearest(tenant, "b", RESTART) is None
    await alike.note(tenant, "b", "kept", RESTART)
    assert vectors.texts == [RESTART], "one question is embedded once"
    assert await alike.nearest(tenant, "b", AGAIN) == "kept"


async def test_a_guard_objects(alike, tenant) -> None:
    await alike.note(tenant, "b", "kept", RESTART)
    assert await alike.nearest(tenant, "b", NOT_THE_SAME) is None


async def test_behind_one_that_a_guard_rejects_the_next_is_found(alike, tenant) -> None:
    await alike.note(tenant, "b", "kept", RESTART)
    await alike.note(tenant, "b", "other", NOT_THE_SAME)
    assert await alike.nearest(tenant, "b", AGAIN) == "kept"


async def test_words_alone_do_not_make_it_alike(alike, vectors, tenant) -> None:
    vectors.far.add(AGAIN)
    await alike.note(tenant, "b", "kept", RESTART)
    assert await alike.nearest(tenant, "b", AGAIN) is None


async def test_tenants_buckets_and_models_never_meet(alike, vectors, tenant) -> None:
    await alike.note(tenant, "b", "kept", RESTART)
    assert await alike.nearest(f"{tenant}x", "b", AGAIN) is None
    assert await alike.nearest(tenant, "c", AGAIN) is None
    vectors.model = "model@2"
    assert await alike.nearest(tenant, "b", f"{AGAIN} ") is None


async def test_what_another_process_notes_is_found(alike, vectors, questions, tenant) -> None:
    other = Alike(vectors, questions, 0.9, lambda _: TTL_S)
    assert await alike.nearest(tenant, "b", AGAIN) is None
    await other.note(tenant, "b", "kept", RESTART)
    assert await alike.nearest(tenant, "b", AGAIN) == "kept"


async def test_a_stream_that_is_gone_leaves_nothing(alike, redis, tenant) -> None:
    await alike.note(tenant, "b", "kept", RESTART)
    assert await alike.nearest(tenant, "b", AGAIN) == "kept"
    keys = [key async for key in redis.scan_iter(f"rag:{tenant}:questions:*")]
    assert 0 < await redis.ttl(*keys) <= TTL_S
    await redis.delete(*keys)
    assert await alike.nearest(tenant, "b", AGAIN) is None


async def test_a_long_question_is_left_alone(alike, vectors, tenant) -> None:
    long = "How? " * MAX_CHARS
    await alike.note(tenant, "b", "kept", long)
    assert await alike.nearest(tenant, "b", long) is None
    assert not vectors.texts


async def test_many_at_once_lose_nothing(alike, tenant) -> None:
    asked = [f"What does part {number} do?" for number in range(30)]
    await asyncio.gather(
        *(alike.note(tenant, "b", text, text) for text in asked), *(alike.nearest(tenant, "b", text) for text in asked)
    )
    assert await asyncio.gather(*(alike.nearest(tenant, "b", f"Please, {text}") for text in asked)) == asked


async def test_an_embedder_that_hangs_is_not_waited_for(alike, vectors, tenant) -> None:
    vectors.held = asyncio.Event()
    with context.bound(context.new_call(tenant, 5.0)):
        with pytest.raises(Unavailable):
            await alike.nearest(tenant, "b", RESTART)
        assert context.remaining_s(0) > 2.0


async def test_without_redis_an_error_of_the_house(vectors, tenant, tmp_path) -> None:
    async with open_redis(f"unix://{tmp_path}/none") as away:
        alike = Alike(vectors, RedisQuestions(away), 0.9, lambda _: TTL_S)
        with pytest.raises(Unavailable):
            await alike.nearest(tenant, "b", RESTART)
        with pytest.raises(Unavailable):
            await alike.note(tenant, "b", "kept", RESTART)


async def test_the_store_tells_what_is_new(questions, tenant) -> None:
    assert await questions.since(tenant, "s", "") == Update("", "", [])
    for number in (1, 2):
        await questions.note(tenant, "s", noted(number), TTL_S)
    everything = await questions.since(tenant, "s", "")
    assert [found.key for found in everything.noted] == ["k1", "k2"]
    assert everything.oldest == everything.noted[0].id
    assert everything.noted[0].vector.tolist() == [1, 0, 0, 0]
    last = everything.noted[0].id
    newer = await questions.since(tenant, "s", last)
    assert (newer.after, [found.key for found in newer.noted]) == (last, ["k2"])


async def test_the_store_leaves_out_what_it_cannot_read(questions, redis, tenant) -> None:
    await redis.xadd(questions_key(tenant, "s"), {"vector": b"odd", "key": "k", "question": "?"})
    await redis.xadd(questions_key(tenant, "s"), {"other": "shape"})
    assert (await questions.since(tenant, "s", "")).noted == []


async def test_the_store_drops_the_oldest(questions, redis, tenant) -> None:
    key = questions_key(tenant, "s")
    async with redis.pipeline(transaction=False) as many:
        for number in range(MAX_QUESTIONS + 300):
            many.xadd(key, {"key": f"k{number}", "question": "?", "vector": pack(np.ones(384))})
        await many.execute()
    await questions.note(tenant, "s", noted(0, "newest", dimension=384), TTL_S)
    assert await redis.xlen(key) < MAX_QUESTIONS + 100


def test_a_mirror_is_bounded() -> None:
    mirrors = Mirrors(max_bytes=50_000)
    for tenant in ("a", "b", "c"):
        for number in range(20):
            mirrors.updated(tenant, "s", Update(mirrors.last(tenant, "s"), "0-1", [noted(number)]), TTL_S)
    assert 0 < mirrors.bytes <= 50_000
    assert mirrors.last("c", "s")
    assert not mirrors.last("a", "s")


def test_a_mirror_holds_the_newest_of_a_space() -> None:
    many = [noted(number) for number in range(MAX_QUESTIONS + 5)]
    mirror = Mirrors().updated("t", "s", Update("", "0-1", many), TTL_S)
    assert [found.key for found in mirror.noted] == [found.key for found in many[5:]]


def test_a_mirror_drops_what_is_older_than_its_answers() -> None:
    now = time.time()
    mirrors = Mirrors(clock=lambda: now)
    mirrors.updated("t", "s", Update("", "0-1", [noted(1)]), TTL_S)
    now += TTL_S + 5
    assert not mirrors.updated("t", "s", Update("", "0-1", []), TTL_S).noted


def test_a_question_answered_anew_counts_once() -> None:
    first, second = noted(1, "same"), noted(2, "same")
    mirror = Mirrors().updated("t", "s", Update("", first.id, [first, second]), TTL_S)
    assert [found.id for found in mirror.noted] == [second.id]


def test_a_mirror_that_was_dropped_meanwhile_is_fetched_whole() -> None:
    mirrors = Mirrors()
    first, second = noted(1), noted(2)
    partly = mirrors.updated("t", "s", Update(first.id, first.id, [second]), TTL_S)
    assert [found.key for found in partly.noted] == ["k2"]
    assert not mirrors.last("t", "s")


def test_vectors_of_another_shape_are_left_out() -> None:
    mirror = Mirrors().updated("t", "s", Update("", "0-1", [noted(1, dimension=3), noted(2)]), TTL_S)
    assert [found.key for found in mirror.nearest(vector(0), 0.9, 5)] == ["k2"]
    assert not list(mirror.nearest(vector(0, 3), 0.9, 5))


class FakeEmbedder(embedder_pb2_grpc.EmbedderServiceServicer):
    def __init__(self) -> None:
        self.answers = [pb.EmbedResponse(count=1, dimension=4, values=pack(vector(2)), model="m", revision="r")]

    async def Embed(self, request, context) -> AsyncIterator[pb.EmbedResponse]:
        for answer in self.answers:
            yield answer


async def test_the_embedder_makes_the_vectors(call) -> None:
    fake = FakeEmbedder()

    def add(server: grpc.aio.Server) -> None:
        embedder_pb2_grpc.add_EmbedderServiceServicer_to_server(fake, server)

    async def ready() -> bool:
        return True

    room = Room("embedder", [Mount("rag.v1.EmbedderService", add)], ready)
    async with (
        serving(ServiceSettings(lame_duck_ms=0, drain_grace_ms=500), room) as port,
        open_peer(f"127.0.0.1:{port}", "rag.v1.EmbedderService") as peer,
    ):
        made = await GrpcQuestionVectors(peer).embed(RESTART)
        assert (made.model, made.vector.tolist()) == ("m@r", [0, 0, 1, 0])
        fake.answers = []
        with pytest.raises(Internal):
            await GrpcQuestionVectors(peer).embed(RESTART)


async def test_an_embedder_that_is_away_does_not_hold_up(questions, tenant) -> None:
    async with open_peer("127.0.0.1:1", "rag.v1.EmbedderService") as peer:
        alike = Alike(GrpcQuestionVectors(peer), questions, 0.9, lambda _: TTL_S)
        with context.bound(context.new_call(tenant, 10.0)):
            with pytest.raises(RagError):
                await alike.nearest(tenant, "b", RESTART)
            assert context.remaining_s(0) > 5.0


async def test_all_questions_of_one_tenant_are_forgotten(alike, questions, redis, tenant, call) -> None:
    await alike.note(tenant, "b", "k", RESTART)
    assert await alike.nearest(tenant, "b", AGAIN) == "k"
    for number in range(120):
        await questions.note(tenant, f"s{number}", noted(number), TTL_S)
    await questions.note(f"{tenant}-other", "s", noted(1), TTL_S)
    await alike.forget(tenant)
    assert [key async for key in redis.scan_iter(f"rag:{tenant}:*", 1_000)] == []
    assert await alike.nearest(tenant, "b", AGAIN) is None
    assert (await questions.since(f"{tenant}-other", "s", "")).noted
