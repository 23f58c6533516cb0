"""The figures of evaluations in the retriever: kept in a real Redis, exported as metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis.asyncio
from prometheus_client import REGISTRY

from rag.ids import new_id
from rag.runtime.errors import InvalidInput, Unavailable
from rag.runtime.redis import open_redis
from services.retriever.adapters.redis_evaluations import RedisEvaluations
from services.retriever.evaluation import Evaluations, Figures
from services.retriever.retrieval.query import Mode


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    async with open_redis(f"{redis_url}?db=14") as opened:
        await opened.flushdb()
        yield opened


def figures(dataset: str, mode: Mode = Mode.HYBRID, precision: float = 0.5) -> Figures:
    return Figures(dataset, mode, 10, precision, 0.7, 0.8)


def exported(dataset: str, mode: str = "hybrid", name: str = "rag_precision_at_5") -> float | None:
    return REGISTRY.get_sample_value(name, {"dataset": dataset, "mode": mode})


async def test_what_is_kept_is_read_back(client: redis.asyncio.Redis) -> None:
    store = RedisEvaluations(client)
    kept = [figures("a"), figures("a", Mode.DENSE), figures("b-1", Mode.KEYWORD, 1 / 3)]
    for one in kept:
        assert await store.keep(one) == []
    assert sorted(await store.all(), key=lambda one: (one.dataset, one.mode.value)) == [kept[1], kept[0], kept[2]]


async def test_later_figures_take_the_place_of_earlier_ones(client: redis.asyncio.Redis) -> None:
    store = RedisEvaluations(client)
    await store.keep(figures("a", precision=0.1))
    await store.keep(figures("a", precision=0.2))
    assert [one.precision_at_5 for one in await store.all()] == [0.2]


async def test_beyond_the_limit_the_oldest_are_dropped(client: redis.asyncio.Redis) -> None:
    times = iter(range(1, 10))
    store = RedisEvaluations(client, most=2, clock=lambda: float(next(times)))
    await store.keep(figures("a"))
    await store.keep(figures("b", Mode.DENSE))
    await store.keep(figures("a"))
    assert await store.keep(figures("c")) == [("b", Mode.DENSE)]
    assert {one.dataset for one in await store.all()} == {"a", "c"}


async def test_reported_figures_are_exported_also_after_a_restart(client: redis.asyncio.Redis) -> None:
    dataset = new_id("set")
    await RedisEvaluations(client).keep(figures(dataset, precision=0.25))
    assert exported(dataset) is None
    await Evaluations(RedisEvaluations(client)).run()
    assert exported(dataset) == 0.25
    await Evaluations(RedisEvaluations(client)).report(figures(dataset, precision=0.75))
    assert exported(dataset) == 0.75
    assert exported(dataset, name="rag_ndcg_at_10") == 0.7
    assert exported(dataset, name="rag_recall_at_10") == 0.8


async def test_a_dropped_dataset_is_no_longer_exported(client: redis.asyncio.Redis) -> None:
    first, second = new_id("set"), new_id("set")
    evaluations = Evaluations(RedisEvaluations(client, most=1))
    await evaluations.report(figures(first))
    await evaluations.report(figures(second))
    assert exported(first) is None
    assert exported(second) == 0.5


async def test_while_redis_is_away_nothing_is_kept() -> None:
    async with open_redis("redis://127.0.0.1:1/0") as away:
        with pytest.raises(Unavailable):
            await RedisEvaluations(away).keep(figures("a"))
        with pytest.raises(Unavailable):
            await RedisEvaluations(away).all()


class AwayOnce:
    """A store that is away at the first look."""

    def __init__(self, kept: Figures) -> None:
        self.kept = kept
        self.looks = 0

    async def keep(self, figures: Figures) -> list[tuple[str, Mode]]:
        return []

    async def all(self) -> list[Figures]:
        self.looks += 1
        if self.looks == 1:
            raise Unavailable("Away.", "CATALOGUE_UNAVAILABLE")
        return [self.kept]


async def test_a_store_that_is_away_at_the_start_is_asked_again() -> None:
    dataset = new_id("set")
    store = AwayOnce(figures(dataset))
    await Evaluations(store).run(first_pause_s=0.01)
    assert store.looks == 2
    assert exported(dataset) == 0.5


@pytest.mark.parametrize(
    "wrong",
    [
        {"dataset": ""},
        {"dataset": "a/b"},
        {"dataset": "x" * 65},
        {"queries": 0},
        {"precision_at_5": -0.1},
        {"ndcg_at_10": 1.1},
        {"recall_at_10": float("nan")},
    ],
)
def test_figures_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    right = {
        "dataset": "a",
        "mode": Mode.HYBRID,
        "queries": 1,
        "precision_at_5": 0.0,
        "ndcg_at_10": 0.5,
        "recall_at_10": 1.0,
    }
    with pytest.raises(InvalidInput):
        Figures(**{**right, **wrong})
