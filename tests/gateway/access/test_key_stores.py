"""What every store of keys promises: the real one in Redis, and the one that other tests use."""

from __future__ import annotations

import time

import pytest

from rag.access import redis_keys
from rag.access.record import ApiKeyRecord
from rag.access.redis_keys import RedisKeys
from rag.ids import new_id
from rag.runtime.errors import FailedPrecondition, InvalidInput, NotFound, Unavailable
from rag.runtime.redis import open_redis
from tests.gateway.access import opening
from tests.gateway.access.stores import DictKeys
from tests.redis_server import running_redis

PEPPER = opening.PEPPER.encode()


@pytest.fixture(params=["dict", "redis"])
def store(request, redis):
    return DictKeys() if request.param == "dict" else RedisKeys(redis, PEPPER)


def record(tenant, created_ms=1_800_000_000_000, **fields):
    made = {"name": "laptop", "scopes": frozenset({"query", "ingest"}), **fields}
    return ApiKeyRecord(new_id("key"), tenant, created_ms=created_ms, **made)


async def test_a_key_is_found_by_its_digest_as_it_was_kept(store, tenant):
    kept = [record(tenant, name="é ümlaut 'x'", expires_ms=4_000_000_000_000), record(tenant)]
    for number, each in enumerate(kept):
        await store.add(each, f"{tenant}{number}")
    assert [await store.find(f"{tenant}{number}") for number in range(3)] == [*kept, None]


async def test_keys_are_listed_newest_first_those_that_ended_too(store, tenant):
    kept = [record(tenant, 1_800_000_000_000 + number) for number in range(3)]
    for number, each in enumerate(kept):
        await store.add(each, f"{tenant}{number}")
    await store.revoke(tenant, kept[1].id, 1_800_000_000_500)
    listed = await store.list(tenant)
    assert [each.id for each in listed] == [each.id for each in reversed(kept)]
    assert [each.revoked_ms for each in listed] == [None, 1_800_000_000_500, None]
    assert await store.list(new_id("tenant")) == []


async def test_to_revoke_twice_is_to_revoke_once(store, tenant):
    kept = record(tenant)
    await store.add(kept, tenant)
    first = await store.revoke(tenant, kept.id, 1_800_000_000_500)
    assert await store.revoke(tenant, kept.id, 1_900_000_000_000) == first
    assert (await store.find(tenant)).revoked_ms == 1_800_000_000_500
    assert not first.is_good(0)


async def test_a_foreign_key_and_an_unknown_one_are_told_alike(store, tenant):
    kept = record(tenant)
    await store.add(kept, tenant)
    told = []
    for key_id in (kept.id, new_id("key")):
        with pytest.raises(NotFound) as caught:
            await store.revoke(new_id("tenant"), key_id, 1)
        told.append((caught.value.message, caught.value.reason))
    assert told[0] == told[1]
    assert (await store.find(tenant)).revoked_ms is None


@pytest.mark.parametrize("key_id", ["", "*", "a:b", "x" * 65, "../x"])
async def test_what_is_no_id_reaches_no_key(redis, tenant, key_id):
    with pytest.raises(InvalidInput) as caught:
        await RedisKeys(redis, PEPPER).revoke(tenant, key_id, 1)
    assert caught.value.reason == "BAD_ID"


async def test_a_tenant_has_so_many_keys_and_old_ones_make_room(redis, tenant, monkeypatch):
    monkeypatch.setattr(redis_keys, "MAX_KEYS", 2)
    store = RedisKeys(redis, PEPPER)
    old = record(tenant)
    await store.add(old, f"{tenant}0")
    await store.add(record(tenant), f"{tenant}1")
    with pytest.raises(FailedPrecondition) as caught:
        await store.add(record(tenant), f"{tenant}2")
    assert caught.value.reason == "TOO_MANY_KEYS"
    assert await store.find(f"{tenant}2") is None
    await redis.delete(f"rag:keys:{tenant}0")  # as Redis itself does 90 days after its end
    await store.add(record(tenant), f"{tenant}2")
    with pytest.raises(NotFound):
        await store.revoke(tenant, old.id, 1)
    assert len(await store.list(tenant)) == 2


async def test_what_ended_is_kept_for_a_while_and_not_for_ever(redis, tenant):
    store = RedisKeys(redis, PEPPER)
    ends_ms = int(time.time() * 1000) + 1_000_000_000
    endless, ending = record(tenant), record(tenant, expires_ms=ends_ms)
    await store.add(endless, f"{tenant}0")
    await store.add(ending, f"{tenant}1")
    assert await redis.pttl(f"rag:keys:{tenant}0") == -1
    await store.revoke(tenant, endless.id, ends_ms)
    for number in range(2):
        left_days = (await redis.pttl(f"rag:keys:{tenant}{number}") - 1_000_000_000) / 86_400_000
        assert left_days == pytest.approx(90, abs=0.1)


async def test_a_second_pepper_makes_no_keys_that_open_nothing(redis, tenant):
    await RedisKeys(redis, PEPPER).add(record(tenant), tenant)
    with pytest.raises(FailedPrecondition, match="another pepper") as caught:
        await RedisKeys(redis, b"q" * 64).add(record(tenant), f"{tenant}2")
    assert caught.value.reason == "PEPPER_DIFFERS"
    assert len(await RedisKeys(redis, PEPPER).list(tenant)) == 1


async def test_with_a_second_pepper_nobody_can_tell_whether_a_key_is_good(redis, tenant):
    await RedisKeys(redis, PEPPER).add(record(tenant), tenant)
    with pytest.raises(Unavailable, match="RAG_KEY_PEPPER") as caught:
        await RedisKeys(redis, b"q" * 64).find("unknown")
    assert caught.value.reason == "PEPPER_DIFFERS"
    assert await RedisKeys(redis, PEPPER).find("unknown") is None


async def test_no_record_gives_more_than_keys_can_have(redis, tenant):
    store = RedisKeys(redis, PEPPER)
    await store.add(record(tenant, scopes=frozenset({"query", "internal", "operator"})), tenant)
    assert (await store.find(tenant)).scopes == {"query", "operator"}


async def test_a_store_that_is_away_is_unavailable(tmp_path, tenant):
    with running_redis(tmp_path) as url:
        pass
    async with open_redis(url) as client:
        store = RedisKeys(client, PEPPER)
        for ask in (store.find(tenant), store.list(tenant), store.add(record(tenant), tenant)):
            with pytest.raises(Unavailable) as caught:
                await ask
            assert caught.value.reason == "KEYS_UNAVAILABLE"
