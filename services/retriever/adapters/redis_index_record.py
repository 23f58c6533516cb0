"""The indexes in Redis: which one is live, which is being built, which are retired."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from redis.asyncio import Redis

from services.retriever.adapters import redis_index_scripts as scripts
from services.retriever.adapters.redis_index_json import (
    comparison_of,
    dump,
    outcome_of,
    progress_of,
    retired_of,
    wish_of,
)
from services.retriever.adapters.redis_keys import (
    BARRIER,
    BUILDER,
    BUILDING,
    CHANGES,
    COMPARISON,
    GENERATIONS,
    INDEX,
    OUTCOME,
    RETIRED,
    translated,
)
from services.retriever.opening import Index
from services.retriever.passages import Model
from services.retriever.rebuild.standing import Building, Comparison, Outcome, Progress, Retired, Standing, Wish


class RedisIndexRecord:
    """Remembers the indexes for good: another model at a later start must not hide what was indexed.

    Args:
        redis: The catalogue's Redis.
        builder: Names this process among those that may build.
        lease_s: How long a builder that says nothing is waited for.
        clock: Seconds since 1970.
    """

    def __init__(
        self, redis: Redis, builder: str = "", lease_s: float = 15.0, clock: Callable[[], float] = time.time
    ) -> None:
        self._redis = redis
        self._builder = builder
        self._lease_ms = int(lease_s * 1000)
        self._clock = clock
        self._record = redis.register_script(scripts.RECORD)
        self._begin = redis.register_script(scripts.BEGIN)
        self._claim = redis.register_script(scripts.CLAIM)
        self._end = redis.register_script(scripts.END)
        self._switch = redis.register_script(scripts.SWITCH)

    async def live(self) -> Index | None:
        """Return the live index, None before the first."""
        with translated():
            fields: Any = await self._redis.hgetall(INDEX)
        return _index(fields)[0] if fields else None

    async def record(self, index: Index) -> Index:
        """Record `index` as live when none is recorded yet; return the one that is."""
        with translated():
            answer = await self._record(keys=[INDEX], args=_fields(index, self._now_ms()))
        return _index(dict(zip(answer[::2], answer[1::2], strict=True)))[0]

    async def standing(self) -> Standing:
        """Return where the indexes stand, in one reading."""
        with translated():
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.hgetall(INDEX)
                pipeline.hgetall(BUILDING)
                pipeline.hvals(RETIRED)
                pipeline.get(COMPARISON)
                pipeline.get(OUTCOME)
                live, building, retired, comparison, outcome = await pipeline.execute()
        index, live_at_ms = _index(live) if live else (None, 0)
        kept = sorted(map(retired_of, retired), key=lambda item: -item.live_at_ms)
        return Standing(index, live_at_ms, _building(building), kept, comparison_of(comparison), outcome_of(outcome))

    async def next_generation(self) -> int:
        """Return a number that no index has had, from 2."""
        with translated():
            return int(await self._redis.incr(GENERATIONS)) + 1

    async def begin(self, rebuild_id: str, wish: Wish) -> bool:
        """Begin a rebuild; False when one is under way already, or the index to go back to is gone."""
        again = wish.target.collection if wish.rolls_back else ""
        with translated():
            return bool(await self._begin(keys=[BUILDING, RETIRED], args=[rebuild_id, dump(wish), again]))

    async def claim(self, rebuild_id: str, progress: Progress | None = None, trouble: str = "") -> bool:
        """Build, or go on building, with what there is to tell; False when it ended or another process builds."""
        args: list[str | int] = [rebuild_id, self._builder, self._lease_ms, dump(progress) if progress else "", trouble]
        with translated():
            return bool(await self._claim(keys=[BUILDING, BUILDER], args=args))

    async def release_all(self) -> None:
        """Let a rebuild be taken up at once: for an index whose only builder has just started."""
        with translated():
            await self._redis.delete(BUILDER, BARRIER)

    async def end(self, outcome: Outcome, target: Retired) -> bool:
        """End a rebuild that did not switch, and retire its index; False when it had ended."""
        keys = [BUILDING, BUILDER, RETIRED, OUTCOME]
        args = [outcome.id, dump(outcome), target.index.collection, dump(target)]
        with translated():
            return bool(await self._end(keys=keys, args=args))

    async def keep(self, comparison: Comparison) -> None:
        """Remember the last comparison."""
        with translated():
            await self._redis.set(COMPARISON, dump(comparison))

    async def changes(self) -> int:
        """Return how many commits and deletions there were."""
        with translated():
            return int(await self._redis.get(CHANGES) or 0)

    async def switch(self, outcome: Outcome, target: Index, changes: int, old: Retired, hold_s: float) -> bool:
        """Make `target` live instead of `old`, unless there were more than `changes` changes; return whether it is.

        For `hold_s` after it commits and deletions wait. LookupError when the rebuild is another's by now, or ended.
        """
        keys = [BUILDING, BUILDER, RETIRED, OUTCOME, INDEX, CHANGES, BARRIER]
        told: list[str | int] = [outcome.id, self._builder, changes, dump(outcome), old.index.collection, dump(old)]
        args = [*told, int(hold_s * 1000), *_fields(target, self._now_ms())]
        with translated():
            refused = await self._switch(keys=keys, args=args)
        if refused == b"GONE":
            raise LookupError(outcome.id)
        return not refused

    async def bar(self, seconds: float) -> None:
        """Have commits and deletions wait for so long, or until a switch."""
        with translated():
            await self._redis.set(BARRIER, "1", px=int(seconds * 1000))

    async def unbar(self) -> None:
        """Let them go on."""
        with translated():
            await self._redis.delete(BARRIER)

    async def forget(self, index: Index) -> None:
        """Forget a retired index: it was dropped."""
        with translated():
            await self._redis.hdel(RETIRED, index.collection)

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def _fields(index: Index, live_at_ms: int) -> list[str | int]:
    fields: dict[str, str | int] = {
        "collection": index.collection,
        "model": index.model.name,
        "revision": index.model.revision,
        "dimension": index.model.dimension,
        "analyzer": index.analyzer,
        "generation": index.generation,
        "live_at_ms": live_at_ms,
    }
    return [part for pair in fields.items() for part in pair]


def _index(fields: dict[bytes, bytes]) -> tuple[Index, int]:
    texts = {key.decode(): value.decode() for key, value in fields.items()}
    model = Model(texts["model"], texts["revision"], int(texts["dimension"]))
    # Records of earlier releases lack the last three.
    generation, live_at_ms = int(texts.get("generation", 1)), int(texts.get("live_at_ms", 0))
    return Index(texts["collection"], model, texts.get("analyzer", ""), generation), live_at_ms


def _building(fields: dict[bytes, bytes]) -> Building | None:
    if not fields:
        return None
    trouble = fields.get(b"trouble", b"").decode()
    return Building(fields[b"id"].decode(), wish_of(fields[b"wish"]), progress_of(fields.get(b"progress")), trouble)
