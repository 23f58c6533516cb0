"""Bad credentials are limited for each address, and good ones are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.runtime.errors import Overloaded, Unauthenticated, Unavailable
from services.gateway.access.attempts import Attempts
from tests.gateway.access.stores import Time


@pytest.fixture
def clock():
    return Time()


def bad(attempts: Attempts, address: str = "10.0.0.1") -> None:
    with pytest.raises(Unauthenticated), attempts.one(address):
        raise Unauthenticated("No.", "BAD_CREDENTIAL")


def refused(attempts: Attempts, address: str = "10.0.0.1") -> float:
    with pytest.raises(Overloaded) as caught, attempts.one(address):
        pytest.fail("it was looked at")
    assert caught.value.reason == "TOO_MANY_BAD_CREDENTIALS"
    return caught.value.retry_after_s


def test_so_many_a_minute_and_then_none_until_there_is_room(clock):
    attempts = Attempts(6, clock)
    for _ in range(6):
        bad(attempts)
    assert refused(attempts) == pytest.approx(10)
    clock.now += 9.9
    assert refused(attempts) == pytest.approx(0.1)
    clock.now += 0.2
    bad(attempts)
    refused(attempts)
    clock.now += 60
    for _ in range(6):
        bad(attempts)
    refused(attempts)


def test_good_ones_and_those_that_nobody_could_judge_do_not_count(clock):
    attempts = Attempts(1, clock)
    for _ in range(10):
        with attempts.one("a"):
            pass
        with pytest.raises(Unavailable), attempts.one("a"):
            raise Unavailable("Away.", "AUTH_UNAVAILABLE")
    bad(attempts, "a")
    refused(attempts, "a")


def test_of_many_at_once_only_so_many_are_looked_at(clock):
    attempts = Attempts(3, clock)
    with attempts.one("a"), attempts.one("a"), attempts.one("a"):
        refused(attempts, "a")
    with attempts.one("a"):
        pass


def test_addresses_do_not_share(clock):
    attempts = Attempts(1, clock)
    bad(attempts, "10.0.0.1")
    bad(attempts, "10.0.0.2")
    refused(attempts, "10.0.0.1")


SAME = [
    ("ipv4:10.0.0.1:1234", "ipv4:10.0.0.1:999"),
    ("10.0.0.1", "ipv4:10.0.0.1:1"),
    ("::ffff:10.0.0.1", "10.0.0.1"),
    ("2001:db8::1", "2001:db8::ffff:1"),
    ("ipv6:%5B2001:db8::1%5D:50", "2001:db8::2"),
    ("fe80::1%eth0", "fe80::2"),
    ("", ""),
    ("unix:/run/x", "unix:/run/x"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_a_caller_is_one_whatever_port_or_neighbouring_address_it_takes(clock, one, other):
    attempts = Attempts(1, clock)
    bad(attempts, one)
    refused(attempts, other)


@given(st.text(max_size=300))
def test_any_address_is_somebody(address):
    attempts = Attempts(1, Time())
    bad(attempts, address)
    refused(attempts, address)


def test_no_number_of_addresses_fills_the_memory(clock):
    attempts = Attempts(1, clock, most=100)
    for number in range(1_000):
        bad(attempts, f"10.0.{number // 250}.{number % 250}")
    assert len(attempts._full_at) == 100
