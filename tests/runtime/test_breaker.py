from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from rag.runtime.breaker import Attempt, Breaker, State


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def entered(breaker: Breaker) -> Attempt:
    attempt = breaker.enter()
    assert attempt is not None
    return attempt


def opened(clock: Clock, failures: int = 2) -> Breaker:
    breaker = Breaker("test", failures=failures, pause_s=60, clock=clock)
    for _ in range(failures):
        entered(breaker).failed()
    assert breaker.state is State.OPEN
    return breaker


def gauge() -> float | None:
    return REGISTRY.get_sample_value("rag_breaker_state", {"name": "test"})


def test_it_opens_after_failures_in_a_row_and_not_before(clock: Clock) -> None:
    breaker = Breaker("test", failures=3, clock=clock)
    for end in ("failed", "failed", "succeeded", "failed", "failed", "abandoned"):
        getattr(entered(breaker), end)()
    assert breaker.state is State.CLOSED
    entered(breaker).failed()
    assert breaker.state is State.OPEN
    assert breaker.enter() is None


def test_after_its_pause_one_attempt_at_a_time_tries(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 59.9
    assert breaker.enter() is None
    clock.now += 0.1
    assert breaker.state is State.HALF_OPEN
    probe = entered(breaker)
    assert [breaker.enter() for _ in range(5)] == [None] * 5
    probe.failed()
    assert breaker.state is State.OPEN
    clock.now += 60
    entered(breaker).succeeded()
    assert breaker.state is State.CLOSED
    entered(breaker).failed()
    assert breaker.state is State.CLOSED


def test_a_probe_whose_reader_left_makes_room_for_the_next(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 60
    entered(breaker).abandoned()
    assert breaker.state is State.HALF_OPEN
    entered(breaker).succeeded()
    assert breaker.state is State.CLOSED


def test_a_probe_that_answers_lets_others_in_before_it_ends(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 60
    probe = entered(breaker)
    probe.answered()
    assert breaker.state is State.CLOSED
    other = entered(breaker)
    probe.failed()
    assert breaker.state is State.OPEN
    other.succeeded()
    assert breaker.state is State.OPEN


def test_a_slow_first_answer_is_a_failure_however_it_ends(clock: Clock) -> None:
    breaker = Breaker("test", failures=2, slow_s=1.0, clock=clock)
    for _ in range(2):
        attempt = entered(breaker)
        clock.now += 1.1
        attempt.answered()
        attempt.succeeded()
    assert breaker.state is State.OPEN


def test_a_slow_probe_opens_it_again(clock: Clock) -> None:
    breaker = Breaker("test", failures=1, pause_s=60, slow_s=1.0, clock=clock)
    entered(breaker).failed()
    clock.now += 60
    probe = entered(breaker)
    clock.now += 2
    probe.answered()
    assert breaker.state is State.OPEN


def test_time_after_the_first_answer_is_not_slow(clock: Clock) -> None:
    breaker = Breaker("test", failures=1, slow_s=1.0, clock=clock)
    attempt = entered(breaker)
    attempt.answered()
    clock.now += 100
    attempt.succeeded()
    assert breaker.state is State.CLOSED


def test_what_began_before_it_opened_neither_closes_it_nor_opens_it_longer(clock: Clock) -> None:
    breaker = Breaker("test", failures=2, pause_s=60, clock=clock)
    early = [entered(breaker) for _ in range(4)]
    early[0].failed()
    early[1].failed()
    clock.now += 30
    early[2].failed()
    early[3].succeeded()
    assert breaker.state is State.OPEN
    clock.now += 30
    assert breaker.state is State.HALF_OPEN


def test_the_metric_tells_the_state(clock: Clock) -> None:
    breaker = Breaker("test", failures=1, pause_s=60, clock=clock)
    assert gauge() == 0
    entered(breaker).failed()
    assert gauge() == 2
    clock.now += 60
    assert gauge() == 1
    entered(breaker).succeeded()
    assert gauge() == 0


@given(
    st.lists(st.tuples(st.sampled_from(["enter", "answer", "succeed", "fail", "abandon", "wait"]), st.integers(0, 5)))
)
def test_it_never_wedges_and_never_lets_two_probes_through(steps: list[tuple[str, int]]) -> None:
    clock, running, probes = Clock(), [], []
    breaker = Breaker("test", failures=2, pause_s=60, slow_s=math.inf, clock=clock)
    ends = {"succeed": "succeeded", "fail": "failed", "abandon": "abandoned"}
    for step, which in steps:
        if step == "wait":
            clock.now += 31
        elif step == "enter":
            state = breaker.state
            if attempt := breaker.enter():
                assert state is not State.OPEN
                running.append(attempt)
                if state is State.HALF_OPEN:
                    assert not probes
                    probes.append(attempt)
        elif running:
            attempt = running[which % len(running)]
            if step == "answer":
                attempt.answered()
            else:
                getattr(attempt, ends[step])()
                running.remove(attempt)
            if attempt in probes:
                probes.remove(attempt)
    for attempt in running:
        attempt.abandoned()
    clock.now += 60
    assert breaker.enter() is not None
