from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.runtime.errors import FailedPrecondition
from services.gateway.adapters.file_limits import FileLimits
from services.gateway.limits.headers import begin, headers_of, tell
from services.gateway.limits.limits import Limits, limits_from, micros, overridden
from services.gateway.limits.rates import RateState, state_of, wait_us
from services.gateway.settings import GatewaySettings

DEFAULTS = Limits(requests_per_minute=60, streams=4)


class Watch:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_settings_say_the_defaults_and_0_is_no_limit() -> None:
    settings = GatewaySettings(limit_requests_per_minute=5, limit_streams=0, limit_cost_usd_per_day=1.5)
    limits = limits_from(dict(settings))
    assert limits == Limits(requests_per_minute=5, cost_usd_per_day=1.5)


def test_a_tenant_has_the_defaults_but_for_what_its_own_line_says() -> None:
    text = json.dumps({"acme": {"requests_per_minute": 6, "documents": 0, "streams": None, "cost_usd_per_day": 0.5}})
    assert overridden(text, DEFAULTS, "limits.json") == {"acme": Limits(requests_per_minute=6, cost_usd_per_day=0.5)}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "no JSON"),
        ("[]", "no JSON object of tenants"),
        ('{"a b": {}}', "a b"),
        ('{"acme": 5}', "acme"),
        ('{"acme": {"request_per_minute": 5}}', "request_per_minute"),
        ('{"acme": {"documents": -1}}', "documents of acme"),
        ('{"acme": {"documents": 1.5}}', "documents of acme"),
        ('{"acme": {"documents": true}}', "documents of acme"),
        ('{"acme": {"cost_usd_per_day": NaN}}', "cost_usd_per_day of acme"),
        ('{"acme": {"documents": "9"}}', "documents of acme"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(text: str, named: str) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        overridden(text, DEFAULTS, "limits.json")
    assert caught.value.reason == "LIMITS_FILE"
    assert "limits.json" in caught.value.message
    assert named in caught.value.message


@given(st.text(max_size=200))
def test_no_text_breaks_the_reading(text: str) -> None:
    with contextlib.suppress(FailedPrecondition):
        overridden(text, DEFAULTS, "limits.json")


def test_a_file_is_read_again_when_it_changes_and_a_wrong_one_changes_nothing(tmp_path: Path) -> None:
    file, watch = tmp_path / "limits.json", Watch()
    file.write_text('{"acme": {"documents": 1}}')
    limits = FileLimits(DEFAULTS, file, watch)
    assert limits.of("acme").documents == 1
    assert limits.of("other") == DEFAULTS
    for text, expected in (('{"acme": {"documents": 22}}', 22), ('{"acme": ', 22), ("{}", None)):
        file.write_text(text)
        watch.now += 2
        assert limits.of("acme").documents == expected
    file.unlink()
    watch.now += 2
    assert limits.of("acme") == DEFAULTS


def test_a_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="GATEWAY_LIMITS_FILE"):
        FileLimits(DEFAULTS, tmp_path / "none.json")


def test_a_cost_is_never_nothing() -> None:
    assert [micros(usd) for usd in (0, 1e-9, 0.0015, 2)] == [0, 1, 1_500, 2_000_000]


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.integers(0, 10**9))
def test_what_remains_fits_what_is_refused(per_minute: int, burst: int, backlog_us: int) -> None:
    limits = Limits(requests_per_minute=per_minute, burst_requests=burst or None)
    state = state_of(limits, backlog_us)
    assert state is not None
    assert 0 <= state.remaining <= state.limit <= per_minute
    assert (wait_us(limits, backlog_us) == 0) == (state.remaining > 0)


def test_the_headers_say_what_the_last_call_of_a_request_was_told() -> None:
    tell(RateState(9, 9, 9))  # outside of any request nobody listens
    told = begin()
    tell(None)
    assert headers_of(told.state) == []
    tell(RateState(10, 3, 42))
    assert headers_of(told.state) == [
        (b"ratelimit-limit", b"10"),
        (b"ratelimit-remaining", b"3"),
        (b"ratelimit-reset", b"42"),
    ]
