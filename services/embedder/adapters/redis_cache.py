"""Vectors in Redis, shared by all embedders."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np
from redis.asyncio import Redis
from redis.exceptions import RedisError

from rag.runtime.backoff import full_jitter
from rag.runtime.redis import reached
from rag.runtime.tasks import cancel_all
from rag.vectors import Vectors, pack
from services.embedder.adapters.redis_backlog import Backlog, Entry
from services.embedder.adapters.redis_rest import Rest
from services.embedder.adapters.redis_vectors import claim_into, claims_key, put_into
from services.embedder.caching import Claim, Computed, Document

TTL_S = 30 * 24 * 3600
JITTER = 0.1
_TIMEOUT_S = 0.5
_LAST_TIMEOUT_S = 3.0
"""When the process ends nobody waits for an answer, and what is not written is lost."""
_FORGET_AT_ONCE = 500
_WRITE_AT_ONCE = 256
_FIRST_PAUSE_S = 0.2
_MOST_PAUSE_S = 5.0


@dataclass(frozen=True, slots=True)
class Chances:
    """Time and chance, for tests to set."""

    clock: Callable[[], float] = time.monotonic
    """Monotonic seconds."""
    random_unit: Callable[[], float] = random.random
    """A number in [0, 1)."""
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    """Waits so many seconds."""


class RedisCache:
    """Raw little-endian float32 by key, for 30 days, and for each document a set of the keys of its texts.

    A document's claim is in its set before the vector is written, and a vector that only documents asked for is
    written while a claim to it stands: so what a run finishes after its document was forgotten is not kept. What cannot
    be written goes to a backlog in memory, which answers meanwhile, and is written when Redis is back.

    Args:
        redis: A client that gives bytes.
        chances: Time and chance.
        backlog_bytes: How much of what could not be written is kept for later; the oldest goes first.
    """

    def __init__(self, redis: Redis, chances: Chances | None = None, backlog_bytes: int = 16 << 20) -> None:
        self._redis = redis
        self._chances = chances or Chances()
        self._rest = Rest(self._chances.clock)
        self._backlog = Backlog(backlog_bytes)
        self._writing: asyncio.Task[None] | None = None

    async def get(self, keys: Sequence[str], dimension: int, claim: Claim | None = None) -> Sequence[Vectors | None]:
        """Read all keys and note the claim with one round trip; read-only vectors."""
        values: Sequence[bytes | str | None] = [None] * len(keys)
        if self._rest.on:
            self._claim_later(claim)
        elif keys or claim:
            try:
                values = await self._read(keys, claim)
            except (RedisError, OSError) as error:
                self._rest.failed("read", error)
                self._claim_later(claim)
        answers = [_vector(value, dimension) for value in values]
        if self._backlog:
            waiting = [_vector(self._backlog.value(key), dimension) for key in keys]
            answers = [answer if answer is not None else late for answer, late in zip(answers, waiting, strict=True)]
        return answers

    async def put(self, computed: Sequence[Computed]) -> None:
        """Write all with one round trip; what fails is written later."""
        entries = [Entry(one.key, pack(one.vector), frozenset(one.asked_by)) for one in computed]
        if not entries:
            return
        if not self._rest.on and await self._write(entries):
            return
        self._backlog.add(entries)
        self._write_later()

    async def forget(self, document: Document) -> AsyncGenerator[Sequence[str]]:
        """Drop the vectors that the document claimed, 500 at a time, each chunk with its claims in one transaction.

        Raises:
            Unavailable: CACHE_UNAVAILABLE.
        """
        name = claims_key(document)
        self._backlog.drop(document)
        with reached("The cache of vectors is not reachable.", "CACHE_UNAVAILABLE"):
            while keys := await self._redis.srandmember(name, _FORGET_AT_ONCE):
                async with self._redis.pipeline(transaction=True) as pipeline:
                    pipeline.unlink(*keys)
                    pipeline.srem(name, *keys)
                    await pipeline.execute()
                yield [key.decode() for key in keys if isinstance(key, bytes)]

    async def close(self) -> None:
        """Try once more to write what is left."""
        if self._writing is not None:
            await cancel_all([self._writing])
        while self._backlog and await self._write_some(_LAST_TIMEOUT_S):
            pass

    async def _read(self, keys: Sequence[str], claim: Claim | None) -> Sequence[bytes | str | None]:
        async with asyncio.timeout(_TIMEOUT_S):
            if claim is None:
                return await self._redis.mget(keys)
            async with self._redis.pipeline(transaction=False) as pipeline:
                claim_into(pipeline, claim, _claims_ttl_s())
                if keys:
                    pipeline.mget(keys)
                answers = await pipeline.execute()
                return answers[-1] if keys else ()

    async def _write(self, entries: Sequence[Entry], timeout_s: float = _TIMEOUT_S) -> bool:
        """Write entries, and before them the claims that wait; tell whether it succeeded."""
        claims = self._backlog.claims()
        try:
            async with asyncio.timeout(timeout_s), self._redis.pipeline(transaction=False) as pipeline:
                for claim in claims:
                    claim_into(pipeline, claim, _claims_ttl_s())
                put_into(pipeline, entries, self._ttl_s)
                await pipeline.execute()
        except (RedisError, OSError) as error:
            self._rest.failed("write", error)
            return False
        self._backlog.noted(claims)
        return True

    def _claim_later(self, claim: Claim | None) -> None:
        if claim is not None:
            self._backlog.claim(claim)
            self._write_later()

    def _write_later(self) -> None:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write_backlog())

    async def _write_backlog(self) -> None:
        failures = 0
        while self._backlog:
            # After success without a pause: Redis is back, and what waits is lost when this process dies.
            if failures or self._rest.on:
                unit = self._chances.random_unit
                await self._chances.pause(full_jitter(max(1, failures), _FIRST_PAUSE_S, _MOST_PAUSE_S, unit))
            failures = 0 if await self._write_some() else failures + 1

    async def _write_some(self, timeout_s: float = _TIMEOUT_S) -> bool:
        entries = self._backlog.oldest(_WRITE_AT_ONCE)
        written = await self._write(entries, timeout_s)
        if written:
            self._backlog.written(entries)
        else:
            self._backlog.put_last(entries)  # if Redis refuses just these, the others still get their turn
        return written

    def _ttl_s(self) -> int:
        # Spread, so that what was written together does not expire together.
        return round(TTL_S * (1 + JITTER * (2 * self._chances.random_unit() - 1)))


def _claims_ttl_s() -> int:
    # Longer than any vector: one that is written a while after its claim is still covered by it.
    return round(TTL_S * (1 + JITTER)) + 24 * 3600


def _vector(value: bytes | str | None, dimension: int) -> Vectors | None:
    if not isinstance(value, bytes) or len(value) != 4 * dimension:
        return None
    return np.frombuffer(value, dtype="<f4")
