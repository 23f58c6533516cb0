"""A key that is known is not asked for each time; one that ended opens nothing for longer than five seconds."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest

from rag.access.api_key import new_key
from rag.access.record import ApiKeyRecord
from rag.runtime.access import Identity
from rag.runtime.errors import Unauthenticated, Unavailable
from services.gateway.access.known_keys import AWAY_S, FRESH_S, KnownKeys
from tests.gateway.access.stores import DictKeys, Time

PEPPER = b"p" * 32


class Bench:
    def __init__(self) -> None:
        self.clock, self.store, self.guesses = Time(), DictKeys(), 0
        self.known = KnownKeys(self.store, PEPPER, self.clock, self.clock)
        self.key = self.give()

    def give(self, **fields: object) -> str:
        key = new_key()
        made = ApiKeyRecord(f"key_{len(self.store.records)}", "acme", "x", frozenset({"query"}), 0)
        self.store.records[key.digest(PEPPER)] = replace(made, **fields)
        return key.text

    async def come(self, text: str = "") -> Identity:
        return await self.known.identify(text or self.key, self.guess)

    @contextmanager
    def guess(self):
        self.guesses += 1
        yield

    async def refused(self, text: str = "") -> tuple[str, str]:
        with pytest.raises(Unauthenticated) as caught:
            await self.come(text)
        return caught.value.message, caught.value.reason


@pytest.fixture
def bench():
    return Bench()


async def test_a_key_says_whose_it_is_and_what_it_may(bench):
    assert await bench.come() == Identity("acme", frozenset({"query"}), "key_0")


async def test_it_is_looked_up_every_five_seconds_and_counts_as_a_guess_once(bench):
    for _ in range(100):
        await bench.come()
    assert (bench.store.asked, bench.guesses) == (1, 1)
    bench.clock.now += FRESH_S
    for _ in range(100):
        await bench.come()
    assert (bench.store.asked, bench.guesses) == (2, 1)


async def test_a_revoked_key_opens_nothing_after_five_seconds(bench):
    await bench.come()
    await bench.store.revoke("acme", "key_0", 1)
    bench.clock.now += FRESH_S - 0.01
    await bench.come()
    bench.clock.now += 0.01
    await bench.refused()
    await bench.refused()
    assert bench.guesses == 2  # it is a stranger's again


async def test_where_it_was_revoked_it_opens_nothing_from_then_on(bench):
    await bench.come()
    await bench.store.revoke("acme", "key_0", 1)
    bench.known.forget("key_other")
    await bench.come()
    bench.known.forget("key_0")
    await bench.refused()


async def test_it_is_as_old_as_the_question_and_not_as_the_answer(bench):
    async def slow(digest: str) -> ApiKeyRecord | None:
        found = bench.store.records[digest]
        bench.clock.now += 3
        return found

    find, bench.store.find = bench.store.find, slow
    await bench.come()
    bench.store.find = find
    await bench.store.revoke("acme", "key_0", 1)
    bench.clock.now += FRESH_S - 3
    await bench.refused()


async def test_a_key_ends_to_the_second_while_it_is_known(bench):
    key = bench.give(expires_ms=int(bench.clock.now * 1000) + 2_000)
    await bench.come(key)
    bench.clock.now += 1.99
    await bench.come(key)
    bench.clock.now += 0.01
    await bench.refused(key)


async def test_unknown_revoked_and_expired_keys_are_told_the_same(bench):
    ended = [new_key().text, bench.give(revoked_ms=1), bench.give(expires_ms=1)]
    told = {await bench.refused(text) for text in ended}
    assert [reason for _, reason in told] == ["BAD_CREDENTIAL"]
    assert bench.guesses == 3


async def test_while_the_store_is_away_known_keys_stay_good_for_a_minute_and_no_longer(bench):
    await bench.come()
    bench.store.is_away = True
    bench.clock.now += AWAY_S - 0.01
    await bench.come()
    bench.clock.now += 0.01
    with pytest.raises(Unavailable) as caught:
        await bench.come()
    assert caught.value.reason == "AUTH_UNAVAILABLE"


async def test_while_the_store_is_away_no_stranger_comes_in(bench):
    bench.store.is_away = True
    with pytest.raises(Unavailable) as caught:
        await bench.come()
    assert caught.value.reason == "AUTH_UNAVAILABLE"
    bench.store.is_away = False
    bench.clock.now += 1
    await bench.come()


async def test_while_the_store_is_away_it_is_asked_once_a_second(bench):
    await bench.come()
    bench.store.is_away, bench.store.asked = True, 0
    bench.clock.now += FRESH_S
    for _ in range(100):
        await bench.come()
    assert bench.store.asked == 1
    bench.clock.now += 1
    await bench.come()
    assert bench.store.asked == 2


async def test_a_key_that_was_revoked_while_the_store_was_away_ends_when_it_is_back(bench):
    await bench.come()
    bench.store.is_away = True
    bench.clock.now += 30
    await bench.come()
    await bench.store.revoke("acme", "key_0", 1)
    bench.store.is_away = False
    bench.clock.now += 1
    await bench.refused()


async def test_no_malformed_key_reaches_the_store_or_counts_as_a_guess(bench):
    assert (await bench.refused(bench.key[:-1] + ("a" if bench.key[-1] != "a" else "b")))[1] == "KEY_MALFORMED"
    assert (bench.store.asked, bench.guesses) == (0, 0)


async def test_no_number_of_keys_fills_the_memory(bench):
    bench.known._seen._most = 10
    for _ in range(30):
        await bench.come(bench.give())
    assert len(bench.known._seen) == 10
