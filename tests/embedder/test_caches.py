"""One suite over both caches, and what only one of them can do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from structlog.testing import capture_logs

from rag.ids import new_id
from rag.runtime.errors import Unavailable
from rag.runtime.redis import open_redis
from services.embedder.adapters.memory_cache import ENTRY_BYTES, MemoryCache
from services.embedder.adapters.redis_backlog import Backlog, Entry
from services.embedder.adapters.redis_cache import TTL_S, Chances, RedisCache
from services.embedder.caching import Claim, Computed, Document
from tests.waiting import until


class Memory:
    """The memory cache, asked like the shared one."""

    def __init__(self) -> None:
        self.cache = MemoryCache(1 << 20)

    async def get(self, keys: Sequence[str], dimension: int) -> Sequence[np.ndarray | None]:
        return self.cache.get(keys, dimension)

    async def put(self, vectors: Mapping[str, np.ndarray]) -> None:
        self.cache.put(vectors)


class Shared:
    """The shared cache, with vectors of questions."""

    def __init__(self, redis: Redis) -> None:
        self.cache = RedisCache(redis)

    async def get(self, keys: Sequence[str], dimension: int) -> Sequence[np.ndarray | None]:
        return await self.cache.get(keys, dimension)

    async def put(self, vectors: Mapping[str, np.ndarray]) -> None:
        await self.cache.put(computed(vectors))


def computed(vectors: Mapping[str, np.ndarray], *asked_by: Document | None) -> list[Computed]:
    return [Computed(key, vector, asked_by or (None,)) for key, vector in vectors.items()]


@pytest.fixture(params=["memory", "redis"])
def cache(request: pytest.FixtureRequest) -> Memory | Shared:
    return Memory() if request.param == "memory" else Shared(request.getfixturevalue("redis"))


@pytest.fixture
def key() -> str:
    return f"rag:vector:test:1:3:{new_id('text')}"


@pytest.fixture
def document(tenant: str) -> Document:
    return Document(tenant, "d1")


def vector(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


ONE = vector(1, 2, 3)


async def test_nothing_is_known_at_first(cache, key):
    assert list(await cache.get([key], 3)) == [None]


async def test_no_keys_no_vectors(cache):
    await cache.put({})
    assert list(await cache.get([], 3)) == []


async def test_what_was_put_is_got_in_the_order_of_the_keys(cache, key):
    await cache.put({f"{key}a": vector(1, 2, 3), f"{key}b": vector(4, 5, 6)})
    second, missing, first = await cache.get([f"{key}b", f"{key}x", f"{key}a"], 3)
    assert missing is None
    assert np.array_equal(first, [1, 2, 3])
    assert np.array_equal(second, [4, 5, 6])
    assert first.dtype == np.float32


async def test_the_last_vector_put_counts(cache, key):
    await cache.put({key: vector(1, 2, 3)})
    await cache.put({key: vector(4, 5, 6)})
    assert np.array_equal((await cache.get([key], 3))[0], [4, 5, 6])


async def test_a_vector_of_another_length_is_a_miss(cache, key):
    await cache.put({key: ONE})
    assert list(await cache.get([key], 4)) == [None]


async def test_a_row_of_a_batch_is_kept_for_itself(cache, key):
    batch = np.arange(6, dtype=np.float32).reshape(2, 3)
    await cache.put({key: batch[1]})
    batch[:] = 0
    assert np.array_equal((await cache.get([key], 3))[0], [3, 4, 5])


def known(cache: MemoryCache, *keys: str) -> list[bool]:
    return [found is not None for found in cache.get(keys, 3)]


def test_memory_forgets_what_was_not_asked_for_longest():
    cache = MemoryCache(3 * (ENTRY_BYTES + 12))
    for name in "abc":
        cache.put({name: ONE})
    cache.get(["a"], 3)
    cache.put({"d": ONE})
    assert known(cache, "a", "b", "c", "d") == [True, False, True, True]
    assert cache.size_bytes == 3 * (ENTRY_BYTES + 12)


def test_memory_without_room_keeps_nothing():
    cache = MemoryCache(0)
    cache.put({"a": ONE})
    assert known(cache, "a") == [False]
    assert cache.size_bytes == 0


def test_memory_answers_nothing_old_however_often_it_is_asked_for():
    now = 0.0
    cache = MemoryCache(1 << 20, most_age_s=45.0, clock=lambda: now)
    cache.put({"a": ONE})
    for seconds in (20.0, 45.0):
        now = seconds
        assert known(cache, "a") == [True]
    now = 46.0
    assert known(cache, "a") == [False]
    cache.put({"a": ONE})
    assert known(cache, "a") == [True]


def test_memory_forgets_what_it_is_told_to():
    cache = MemoryCache(1 << 20)
    cache.put({"a": ONE, "b": ONE})
    cache.forget(["a", "x"])
    assert known(cache, "a", "b") == [False, True]
    assert cache.size_bytes == ENTRY_BYTES + 12


async def test_memory_is_swept_of_what_is_old_though_nobody_asks():
    now = 0.0
    cache = MemoryCache(1 << 20, most_age_s=45.0, clock=lambda: now)
    cache.put({"a": ONE})
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        nonlocal now
        pauses.append(seconds)
        now += seconds
        if now > 55:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await cache.sweep_on(pause)
    assert cache.size_bytes == 0
    assert max(pauses) < 15


async def test_redis_holds_little_endian_floats_for_thirty_days_more_or_less(redis, key):
    for unit, factor in ((0.0, 0.9), (0.5, 1.0), (1.0, 1.1)):
        cache = RedisCache(redis, Chances(random_unit=lambda unit=unit: unit))
        await cache.put(computed({key: ONE}))
        assert await redis.get(key) == np.array([1, 2, 3], dtype="<f4").tobytes()
        assert abs(await redis.ttl(key) - factor * TTL_S) <= 2


async def test_redis_is_asked_once_for_all_keys(redis, key):
    before = (await redis.info("commandstats")).get("cmdstat_mget", {"calls": 0})["calls"]
    await RedisCache(redis).get([f"{key}{n}" for n in range(128)], 3)
    assert (await redis.info("commandstats"))["cmdstat_mget"]["calls"] == before + 1


async def test_another_kind_of_value_under_the_key_is_a_miss(redis, key):
    await redis.rpush(key, "x")
    assert list(await RedisCache(redis).get([key], 3)) == [None]


def claims_of(document: Document) -> str:
    return f"rag:{document.tenant}:vectors:{document.document_id}"


async def test_a_claim_is_noted_in_the_documents_set_longer_than_a_vector_lives(redis, key, document):
    cache = RedisCache(redis)
    assert list(await cache.get([key], 3, Claim(document, [key, f"{key}b"]))) == [None]
    assert list(await cache.get([], 3, Claim(document, [f"{key}c"]))) == []
    assert await redis.smembers(claims_of(document)) == {f"{key}{end}".encode() for end in ("", "b", "c")}
    assert await redis.ttl(claims_of(document)) > 1.1 * TTL_S


async def test_what_a_document_claimed_is_forgotten_and_nothing_else(redis, key, document):
    cache, other = RedisCache(redis), Document(document.tenant, "d2")
    for owner, names in ((document, "ab"), (other, "bc")):
        keys = [f"{key}{name}" for name in names]
        await cache.get(keys, 3, Claim(owner, keys))
        await cache.put(computed(dict.fromkeys(keys, ONE), owner))
    await cache.put(computed({f"{key}q": ONE}))
    chunks = [chunk async for chunk in cache.forget(document)]
    assert sorted(text for chunk in chunks for text in chunk) == [f"{key}a", f"{key}b"]
    assert await redis.exists(claims_of(document)) == 0
    assert [await redis.exists(f"{key}{name}") for name in "abcq"] == [0, 0, 1, 1]
    assert [chunk async for chunk in cache.forget(document)] == []


async def test_many_vectors_are_forgotten_in_chunks(redis, key, document):
    cache = RedisCache(redis)
    keys = [f"{key}{n}" for n in range(1_201)]
    await cache.get([], 3, Claim(document, keys))
    await cache.put(computed(dict.fromkeys(keys, ONE), document))
    assert await redis.exists(*keys) == 1_201
    assert [len(chunk) async for chunk in cache.forget(document)] == [500, 500, 201]
    assert await redis.exists(*keys) == 0


async def test_forgetting_that_breaks_off_is_finished_by_the_next(redis, key, document):
    cache = RedisCache(redis)
    keys = [f"{key}{n}" for n in range(600)]
    await cache.get([], 3, Claim(document, keys))
    await cache.put(computed(dict.fromkeys(keys, ONE), document))
    broken = cache.forget(document)
    await anext(broken)
    await broken.aclose()
    assert await redis.scard(claims_of(document)) == await redis.exists(*keys) == 100
    assert [len(chunk) async for chunk in cache.forget(document)] == [100]
    assert await redis.exists(*keys) == 0


async def test_what_is_finished_after_its_document_was_forgotten_is_not_kept(redis, key, document):
    cache, other = RedisCache(redis), Document(document.tenant, "d2")
    keys = [f"{key}{name}" for name in "abc"]
    await cache.get(keys, 3, Claim(document, keys))
    await cache.get(keys, 3, Claim(other, [keys[1]]))
    assert [len(chunk) async for chunk in cache.forget(document)] == [3]
    await cache.put(
        [Computed(keys[0], ONE, [document]), Computed(keys[1], ONE, [document, other]), Computed(keys[2], ONE, [None, document])]
    )  # fmt: skip
    assert [await redis.exists(key) for key in keys] == [0, 1, 1]


async def test_a_redis_that_is_away_forgets_nothing_and_says_so(document):
    async with open_redis("redis://127.0.0.1:1/0") as away:
        with pytest.raises(Unavailable) as error:
            _ = [chunk async for chunk in RedisCache(away).forget(document)]
    assert error.value.reason == "CACHE_UNAVAILABLE"


class Flaky(Redis):
    """A Redis that can be away."""

    away = False
    asked = 0

    async def mget(self, *keys: Any) -> Any:
        self._ask()
        return await super().mget(*keys)

    def pipeline(self, *args: Any, **kwargs: Any) -> Any:
        self._ask()
        return super().pipeline(*args, **kwargs)

    def _ask(self) -> None:
        self.asked += 1
        if self.away:
            raise RedisConnectionError


class Time:
    """A clock that goes on by the pauses taken, each taken when `step` says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []
        self.step = asyncio.Semaphore(0)

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await self.step.acquire()
        self.now += 3.0

    def chances(self) -> Chances:
        return Chances(clock=lambda: self.now, random_unit=lambda: 1.0, pause=self.pause)


@pytest.fixture
def flaky(redis: Redis) -> Flaky:
    return Flaky(connection_pool=redis.connection_pool)


async def test_a_redis_that_is_away_is_a_miss_and_one_line_a_minute(flaky):
    now = 0.0
    flaky.away = True
    cache = RedisCache(flaky, Chances(clock=lambda: now))
    with capture_logs() as lines:
        for _ in range(5):
            assert list(await cache.get(["rag:vector:none"], 3)) == [None]
            now += 10
        assert [line["event"] for line in lines] == ["cache_bypassed"]
        now = 61
        await cache.get(["rag:vector:none"], 3)
        assert len(lines) == 2


async def test_a_failing_redis_is_left_alone_and_then_asked_again(flaky, redis, key):
    now = 0.0
    await redis.set(key, ONE.tobytes())
    cache = RedisCache(flaky, Chances(clock=lambda: now))
    for seconds, away, asked in ((0.0, True, 1), (1.0, False, 1), (3.0, False, 2)):
        now, flaky.away = seconds, away
        found = (await cache.get([key], 3))[0]
        assert flaky.asked == asked
    assert np.array_equal(found, [1, 2, 3])


async def test_what_could_not_be_written_is_answered_from_memory_and_written_later(flaky, redis, key, document):
    time = Time()
    cache = RedisCache(flaky, time.chances())
    flaky.away = True
    claimed = f"{key}d"
    await cache.get([claimed], 3, Claim(document, [claimed]))
    await cache.put(computed({key: ONE}))
    await cache.put(computed({claimed: ONE}, document))
    assert all(np.array_equal(found, [1, 2, 3]) for found in await cache.get([key, claimed], 3))
    for failures in (1, 2, 3):
        await until(lambda failures=failures: len(time.pauses) == failures)
        time.step.release()
    await until(lambda: len(time.pauses) == 4)
    flaky.away = False
    time.step.release()
    await until(lambda: not cache._backlog)
    assert time.pauses == [0.2, 0.2, 0.4, 0.8]
    assert await redis.exists(key, claimed) == 2
    assert await redis.smembers(claims_of(document)) == {claimed.encode()}
    assert cache._backlog.size_bytes == 0
    await cache.close()


async def test_closing_tries_once_more_to_write(flaky, redis, key):
    cache = RedisCache(flaky, Time().chances())
    flaky.away = True
    await cache.put(computed({key: ONE}))
    flaky.away = False
    await cache.close()
    assert await redis.exists(key) == 1


async def test_closing_without_redis_ends(flaky, key):
    cache = RedisCache(flaky, Time().chances())
    flaky.away = True
    await cache.put(computed({key: ONE}))
    await cache.close()


async def test_what_is_forgotten_is_not_written_later(flaky, redis, key, document):
    cache = RedisCache(flaky, Time().chances())
    flaky.away = True
    await cache.get([key], 3, Claim(document, [key]))
    await cache.put(computed({key: ONE}, document))
    flaky.away = False
    assert [chunk async for chunk in cache.forget(document)] == []
    await cache.close()
    assert await redis.exists(key, claims_of(document)) == 0


def entries(*names: str, asked_by: Document | None = None) -> list[Entry]:
    return [Entry(name, bytes(100), frozenset({asked_by})) for name in names]


def sizes(fill: Callable[[Backlog], None]) -> int:
    backlog = Backlog(1 << 30)
    fill(backlog)
    return backlog.size_bytes


def test_a_backlog_is_bounded_and_drops_the_oldest_vectors_then_the_oldest_claims():
    one = sizes(lambda backlog: backlog.add(entries("a")))
    claim = sizes(lambda backlog: backlog.claim(Claim(Document("t", "d"), ["a"])))
    backlog = Backlog(2 * one + claim)
    backlog.claim(Claim(Document("t", "d"), ["a"]))
    backlog.add(entries("a", "b"))
    assert [backlog.value(name) is not None for name in "ab"] == [True, True]
    backlog.add(entries("c"))
    assert [backlog.value(name) is not None for name in "abc"] == [False, True, True]
    backlog.claim(Claim(Document("t", "e"), [f"{n}" for n in range(2 * one // claim + 1)]))
    assert not backlog.oldest(9)
    assert [claim.document.document_id for claim in backlog.claims()] == ["e"]
    assert backlog.size_bytes <= 2 * one + claim


def test_a_vector_that_was_replaced_while_it_was_written_still_waits():
    backlog = Backlog(1 << 20)
    backlog.add(entries("a", "b"))
    old = backlog.oldest(1)
    backlog.add(entries("a"))
    backlog.written(old)
    assert [entry.key for entry in backlog.oldest(9)] == ["b", "a"]


def test_what_redis_refused_lets_others_go_first():
    backlog = Backlog(1 << 20)
    backlog.add(entries("a", "b", "c"))
    backlog.put_last(backlog.oldest(2))
    assert [entry.key for entry in backlog.oldest(9)] == ["c", "a", "b"]
