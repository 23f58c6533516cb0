"""The keys of an identity provider: read seldom, again for a new one, and good for a while when it is away."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from rag.runtime.errors import Unavailable
from rag.runtime.tasks import together
from services.gateway.access.key_set import AGAIN_S, FRESH_S, USABLE_S, KeySet
from services.gateway.adapters.file_key_source import FileKeySource
from services.gateway.adapters.httpx_key_source import HttpxKeySource, open_client
from services.gateway.adapters.pyjwt_key_set import KeySetSignatures, public_keys
from tests.gateway.access.forging import by_rsa, claims, good_token, jwks, rsa_key, token
from tests.gateway.access.key_server import key_server
from tests.gateway.access.stores import Time
from tests.waiting import until

PARSE = partial(public_keys, algorithm="RS256")


@pytest.fixture
async def provider():
    async with key_server(jwks(first=rsa_key())) as server:
        yield server


@pytest.fixture
async def client():
    async with open_client() as opened:
        yield opened


@pytest.fixture
def clock():
    return Time()


@pytest.fixture
async def keys(provider, client, clock):
    made = KeySet(HttpxKeySource(client, provider.url), PARSE, clock)
    yield made
    await made.close()


async def _result(task):
    return await task


async def away(keys, kid="first"):
    with pytest.raises(Unavailable) as caught:
        await keys.find(kid)
    assert caught.value.reason == "AUTH_UNAVAILABLE"


async def test_keys_are_fetched_once(keys, provider, clock):
    for _ in range(100):
        assert await keys.find("first")
    clock.now += FRESH_S - 1
    assert await keys.find("first")
    assert provider.asked == 1


async def test_many_at_once_wait_for_one_fetch(keys, provider):
    provider.go.clear()
    waiting = [asyncio.create_task(keys.find("first")) for _ in range(50)]
    await until(lambda: provider.asked)
    provider.go.set()
    assert all(await together(*map(_result, waiting)))
    assert provider.asked == 1


async def test_one_who_leaves_takes_the_fetch_from_nobody(keys, provider):
    provider.go.clear()
    leaving, staying = (asyncio.create_task(keys.find("first")) for _ in range(2))
    await until(lambda: provider.asked)
    leaving.cancel()
    provider.go.set()
    assert await staying


async def test_a_new_key_is_found_at_once_and_the_old_one_is_gone(keys, provider, clock):
    signatures = KeySetSignatures(keys, "RS256")
    assert await signatures.payload(good_token())
    clock.now += AGAIN_S
    provider.body = jwks(second=rsa_key("second"))
    assert await signatures.payload(token(claims(), by_rsa(rsa_key("second")), kid="second"))
    assert await keys.find("first") is None
    assert provider.asked == 2


async def test_names_that_nobody_knows_have_the_keys_fetched_every_half_minute(keys, provider, clock):
    await keys.find("first")
    for number in range(100):
        assert await keys.find(f"unknown-{number}") is None
    assert provider.asked == 1
    clock.now += AGAIN_S
    for number in range(100):
        assert await keys.find(f"unknown-{number}") is None
    assert provider.asked == 2


async def test_old_keys_are_looked_at_again_beside_those_who_use_them(keys, provider, clock):
    await keys.find("first")
    clock.now += FRESH_S
    provider.body = jwks(second=rsa_key("second"))
    provider.go.clear()
    assert await keys.find("first")
    await until(lambda: provider.asked == 2)
    provider.go.set()
    await until(lambda: "second" in keys._keys)
    assert await keys.find("first") is None


BROKEN = {
    "an error": {"status": "500 Oops"},
    "a redirect": {"status": "302 Found", "more": "location: http://127.0.0.1:1/\r\n"},
    "no keys": {"body": b'{"keys": []}'},
    "no JSON": {"body": b"<html>"},
    "too much": {"body": b" " * 300_000},
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=list(BROKEN))
async def test_while_the_provider_is_broken_old_keys_are_good_for_an_hour(keys, provider, clock, change):
    await keys.find("first")
    for name, value in change.items():
        setattr(provider, name, value)
    clock.now += USABLE_S - 1
    assert await keys.find("first")
    await until(lambda: keys._is_away)
    await away(keys, "unknown")
    clock.now += 1
    await away(keys)


async def test_without_any_keys_nobody_comes_in_and_the_provider_is_asked_every_five_seconds(keys, provider, clock):
    provider.status, good = "500 Oops", provider.status
    for _ in range(10):
        await away(keys)
    assert provider.asked == 1
    provider.status = good
    await away(keys)
    clock.now += 5
    assert await keys.find("first")


async def test_a_provider_that_is_not_there(client, clock):
    async with key_server() as gone:
        pass
    await away(KeySet(HttpxKeySource(client, gone.url), PARSE, clock))


async def test_a_provider_that_hangs_is_left(keys, provider):
    provider.go.clear()
    reading = asyncio.create_task(keys.find("first"))
    await until(lambda: provider.asked)
    await keys.close()
    with pytest.raises(asyncio.CancelledError):
        await reading
    provider.go.set()


async def test_keys_in_a_file_change_when_it_does(tmp_path, clock):
    path = tmp_path / "keys.json"
    keys = KeySet(FileKeySource(path), PARSE, clock)
    await away(keys)
    path.write_bytes(jwks(first=rsa_key()))
    clock.now += 5
    assert await keys.find("first")
    path.write_bytes(jwks(second=rsa_key("second")))
    clock.now += AGAIN_S
    assert await keys.find("second")
    path.write_bytes(b" " * 300_000)
    clock.now += USABLE_S
    await away(keys, "second")
