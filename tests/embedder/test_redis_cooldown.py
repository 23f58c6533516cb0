from __future__ import annotations

import pytest

from rag.ids import new_id
from rag.runtime.redis import open_redis
from services.embedder.adapters.redis_cooldown import RedisCooldown, cooldown_key


@pytest.fixture
def endpoint() -> str:
    return f"http://{new_id('host').replace('_', '-')}:1/v1"


async def test_there_is_none_at_first(redis, endpoint):
    assert await RedisCooldown(redis, endpoint).left_s() == 0


async def test_all_processes_hear_of_it_and_it_ends(redis, endpoint):
    one, other = RedisCooldown(redis, endpoint), RedisCooldown(redis, endpoint)
    await one.begin(20)
    for cooldown in (one, other):
        assert 19 < await cooldown.left_s() <= 20
    assert 19_000 < await redis.pttl(cooldown_key(endpoint)) <= 20_000
    assert await RedisCooldown(redis, endpoint + "/other").left_s() == 0


async def test_a_shorter_one_does_not_cut_it_and_a_longer_one_prolongs_it(redis, endpoint):
    cooldown, other = RedisCooldown(redis, endpoint), RedisCooldown(redis, endpoint)
    await cooldown.begin(20)
    await other.begin(5)
    assert await redis.pttl(cooldown_key(endpoint)) > 19_000
    assert await cooldown.left_s() > 19
    await other.begin(40)
    assert await redis.pttl(cooldown_key(endpoint)) > 39_000


@pytest.mark.parametrize("seconds", [0.0, 0.0001])
async def test_none_is_none(redis, endpoint, seconds):
    await RedisCooldown(redis, endpoint).begin(seconds)
    assert await redis.exists(cooldown_key(endpoint)) == 0


async def test_when_it_is_over_redis_is_asked_again(redis, endpoint):
    now = 0.0
    cooldown = RedisCooldown(redis, endpoint, lambda: now)
    await cooldown.begin(2)
    await redis.set(cooldown_key(endpoint), "1", px=50_000)
    assert await cooldown.left_s() == 2
    now = 3.0
    assert await cooldown.left_s() > 40
    await redis.delete(cooldown_key(endpoint))
    assert await cooldown.left_s() > 40
    now = 60.0
    assert await cooldown.left_s() == 0


async def test_without_redis_it_is_the_processs_own(endpoint):
    now = 0.0
    async with open_redis("redis://127.0.0.1:1/0") as away:
        cooldown = RedisCooldown(away, endpoint, lambda: now)
        assert await cooldown.left_s() == 0
        await cooldown.begin(20)
        assert await cooldown.left_s() == 20
        now = 21.0
        assert await cooldown.left_s() == 0


def test_the_key_names_the_endpoint_and_gives_nothing_away():
    key = cooldown_key("https://user:secret@api.example.com/v1/")
    assert key == cooldown_key("https://api.example.com/v1")
    assert key.removeprefix("rag:cooldown:").isalnum()
    assert key != cooldown_key("https://api.example.com/v2")
