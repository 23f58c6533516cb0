from __future__ import annotations

import pytest

from services.generator.events import FinishReason
from services.generator.writing.chat import Finish
from services.generator.writing.pricing import Price, Prices

PRICES = Prices({"asked": Price(2.0, 10.0, 0.5), "plain": Price(2.0, 10.0)})


def finish(asked: str, read: int = 1_000, written: int = 100, cached: int = 0) -> Finish:
    return Finish(FinishReason.STOP, "openai", "asked-2026-11", read, written, False, cached, asked)


def test_the_price_is_found_by_the_name_that_was_asked_for() -> None:
    assert PRICES.cost_usd(finish("asked")) == pytest.approx(0.003)
    assert PRICES.cost_usd(finish("asked-2026-11")) is None


def test_cached_tokens_have_their_own_price() -> None:
    assert PRICES.cost_usd(finish("asked", cached=400)) == pytest.approx((600 * 2 + 400 * 0.5 + 100 * 10) / 1e6)


def test_without_one_they_cost_what_others_do() -> None:
    assert PRICES.cost_usd(finish("plain", cached=400)) == pytest.approx(0.003)


def test_no_tokens_cost_nothing_whoever_was_asked() -> None:
    assert PRICES.cost_usd(finish("unknown", 0, 0)) == 0.0


def test_a_server_cannot_report_more_cached_tokens_than_were_read() -> None:
    assert PRICES.cost_usd(finish("asked", cached=5_000)) == pytest.approx((1_000 * 0.5 + 100 * 10) / 1e6)


@pytest.mark.parametrize("price", [(-1.0, 1.0), (1.0, float("nan")), (1.0, 1.0, float("inf"))])
def test_what_is_no_price_is_refused(price: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="not below 0"):
        Price(*price)
