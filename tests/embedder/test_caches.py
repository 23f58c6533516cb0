"""One suite over both caches, and what only Redis can do."""

from __future__ import annotations

import numpy as np
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from structlog.testing import capture_logs

from rag.ids import new_id
from rag.runtime.redis import open_redis
from services.embedder.adapters.memory_cache import ENTRY_BYTES, MemoryCache
from services.embedder.adapters.redis_cache import TTL_S, RedisCache
from services.embedder.embedding import VectorCache


@pytest.fixture(params=["memory", "redis"])
def cache(request: pytest.FixtureRequest) -> VectorCache:
    if request.param == "memory":
        return MemoryCache(1 << 20)
    return RedisCache(request.getfixturevalue("redis"))


@pytest.fixture
def key() -> str:
    return f"rag:vector:test:1:3:{new_id('text')}"


def vector(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


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
    await cache.put({key: vector(1, 2, 3)})
    assert list(await cache.get([key], 4)) == [None]


async def test_a_row_of_a_batch_is_kept_for_itself(cache, key):
    batch = np.arange(6, dtype=np.float32).reshape(2, 3)
    await cache.put({key: batch[1]})
    batch[:] = 0
    assert np.array_equal((await cache.get([key], 3))[0], [3, 4, 5])


async def test_memory_forgets_what_was_not_asked_for_longest():
    cache = MemoryCache(3 * (ENTRY_BYTES + 12))
    for name in "abc":
        await cache.put({name: vector(1, 2, 3)})
    await cache.get(["a"], 3)
    await cache.put({"d": vector(1, 2, 3)})
    known = [found is not None for found in await cache.get(["a", "b", "c", "d"], 3)]
    assert known == [True, False, True, True]
    assert cache.size_bytes == 3 * (ENTRY_BYTES + 12)


async def test_memory_without_room_keeps_nothing():
    cache = MemoryCache(0)
    await cache.put({"a": vector(1, 2, 3)})
    assert list(await cache.get(["a"], 3)) == [None]
    assert cache.size_bytes == 0


async def test_redis_holds_little_endian_floats_for_thirty_days_more_or_less(redis, key):
    for unit, factor in ((0.0, 0.9), (0.5, 1.0), (1.0, 1.1)):
        await RedisCache(redis, random_unit=lambda unit=unit: unit).put({key: vector(1, 2, 3)})
        assert await redis.get(key) == np.array([1, 2, 3], dtype="<f4").tobytes()
        assert abs(await redis.ttl(key) - factor * TTL_S) <= 2


async def test_redis_is_asked_once_for_all_keys(redis, key):
    before = (await redis.info("commandstats")).get("cmdstat_mget", {"calls": 0})["calls"]
    await RedisCache(redis).get([f"{key}{n}" for n in range(128)], 3)
    assert (await redis.info("commandstats"))["cmdstat_mget"]["calls"] == before + 1


async def test_another_kind_of_value_under_the_key_is_a_miss(redis, key):
    await redis.rpush(key, "x")
    assert list(await RedisCache(redis).get([key], 3)) == [None]


async def test_a_redis_that_is_away_is_a_miss_and_one_line_a_minute():
    now = 0.0
    async with open_redis("redis://127.0.0.1:1/0") as away:
        cache = RedisCache(away, clock=lambda: now)
        with capture_logs() as lines:
            for _ in range(5):
                assert list(await cache.get(["a"], 3)) == [None]
                await cache.put({"a": vector(1, 2, 3)})
                now += 10
            assert [line["event"] for line in lines] == ["cache_bypassed"]
            now = 61
            await cache.put({"a": vector(1, 2, 3)})
            assert len(lines) == 2


async def test_a_failing_redis_is_left_alone_and_then_asked_again(redis, key):
    now = 0.0

    class Flaky(Redis):
        asked = 0

        async def mget(self, *keys):
            self.asked += 1
            if self.asked == 1:
                raise RedisConnectionError
            return await redis.mget(*keys)

    flaky = Flaky(connection_pool=redis.connection_pool)
    await redis.set(key, vector(1, 2, 3).tobytes())
    cache = RedisCache(flaky, clock=lambda: now)
    for seconds, asked in ((0.0, 1), (1.0, 1), (3.0, 2)):
        now = seconds
        found = (await cache.get([key], 3))[0]
        assert flaky.asked == asked
    assert np.array_equal(found, [1, 2, 3])
