"""The header that brings a credential: one way to write it, and a clear word about each other one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.access.api_key import new_key
from rag.runtime.access import Identity
from rag.runtime.errors import Overloaded, RagError, Unauthenticated
from services.gateway.access.attempts import Attempts
from services.gateway.access.credentials import MAX_CHARACTERS, Credentials
from tests.gateway.access.stores import Time

ANN = Identity("acme", frozenset({"query"}), "ann")
KEY = new_key().text


class Judge:
    """Believes `good`."""

    def __init__(self, good: str) -> None:
        self.good, self.asked = good, 0

    async def identify(self, text, guess):
        with guess():
            self.asked += 1
            if text == self.good:
                return ANN
            raise Unauthenticated("No.", "BAD_CREDENTIAL")


class Bench:
    def __init__(self, per_min: int = 1_000) -> None:
        self.clock, self.keys, self.tokens = Time(), Judge(KEY), Judge("a.b.c")
        self.access = Credentials(self.keys, self.tokens, Attempts(per_min, self.clock), self.clock)

    async def reason(self, header: str) -> str:
        with pytest.raises(RagError) as caught:
            await self.access.identify(header, "10.0.0.1")
        return caught.value.reason


@pytest.mark.parametrize("header", ["Bearer {key}", "bearer {key}", "BEARER  {key} ", "Bearer a.b.c"])
async def test_who_brings_a_good_one_comes_in(header):
    assert await Bench().access.identify(header.format(key=KEY), "10.0.0.1") == ANN


REFUSED = [
    ("", "NO_CREDENTIAL"),
    ("   ", "NO_CREDENTIAL"),
    ("{key}", "BAD_SCHEME"),
    ("Basic {key}", "BAD_SCHEME"),
    ("Token {key}", "BAD_SCHEME"),
    ("Bearer\t{key}", "BAD_SCHEME"),
    ("Bearer:{key}", "BAD_SCHEME"),
    ("Bearer", "BAD_HEADER"),
    ("Bearer ", "BAD_HEADER"),
    ("Bearer {key} {key}", "BAD_HEADER"),
    ("Bearer {key}, Bearer {key}", "BAD_HEADER"),
    ('Bearer "{key}"', "BAD_HEADER"),
    ("Bearer ключ", "BAD_HEADER"),
    ("Bearer " + "x" * MAX_CHARACTERS, "CREDENTIAL_TOO_LONG"),
    ("Bearer " + "x" * 100_000, "CREDENTIAL_TOO_LONG"),
]


@pytest.mark.parametrize(("header", "reason"), REFUSED)
async def test_each_mistake_has_its_own_word(header, reason):
    bench = Bench()
    assert await bench.reason(header.format(key=KEY)) == reason
    assert not bench.keys.asked + bench.tokens.asked


@given(st.text(max_size=200))
async def test_any_header_is_answered(text):
    bench = Bench()
    for header in (text, f"Bearer {text}", f"Bearer rmk_{text}"):
        with pytest.raises(Unauthenticated) as caught:
            await bench.access.identify(header, "10.0.0.1")
        assert len(text) < 4 or text not in caught.value.message


async def test_without_a_signer_there_are_no_tokens():
    access = Credentials(Judge(KEY), None, Attempts(10))
    with pytest.raises(Unauthenticated) as caught:
        await access.identify("Bearer a.b.c", "")
    assert caught.value.reason == "TOKENS_NOT_TAKEN"
    assert await access.identify(f"Bearer {KEY}", "") == ANN


async def test_who_guesses_is_stopped_before_anybody_is_asked():
    bench = Bench(per_min=10)
    reasons = [await bench.reason(f"Bearer {new_key().text}") for _ in range(100)]
    assert reasons == ["BAD_CREDENTIAL"] * 10 + ["TOO_MANY_BAD_CREDENTIALS"] * 90
    assert bench.keys.asked == 10


async def test_the_same_bad_one_again_and_again_costs_one_attempt():
    bench = Bench(per_min=10)
    bad = new_key().text
    assert {await bench.reason(f"Bearer {bad}") for _ in range(100)} == {"BAD_CREDENTIAL"}
    assert bench.keys.asked == 1
    bench.clock.now += 5
    await bench.reason(f"Bearer {bad}")
    assert bench.keys.asked == 2
    assert await bench.access.identify(f"Bearer {KEY}", "10.0.0.1") == ANN


async def test_too_many_says_when_to_come_back():
    bench = Bench(per_min=1)
    await bench.reason(f"Bearer {new_key().text}")
    with pytest.raises(Overloaded) as caught:
        await bench.access.identify(f"Bearer {new_key().text}", "10.0.0.1")
    assert caught.value.retry_after_s == pytest.approx(60)


async def test_no_number_of_bad_ones_fills_the_memory():
    bench = Bench(per_min=1_000_000)
    bench.access._refused._most = 10
    for _ in range(30):
        await bench.reason(f"Bearer {new_key().text}")
    assert len(bench.access._refused) == 10
