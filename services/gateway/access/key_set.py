"""The public keys of whoever signs tokens: read now and then, and again when a token names one that is new."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Generic, Protocol, TypeVar

from rag.runtime.errors import Unavailable
from rag.runtime.logs import get_logger
from rag.runtime.tasks import cancel_all

K = TypeVar("K")

FRESH_S = 300.0
USABLE_S = 3_600.0
"""How long keys are good while their source is away."""
AGAIN_S = 30.0
_FIRST_AGAIN_S = 5.0

log = get_logger(__name__)


class KeySource(Protocol):
    """Where keys come from."""

    async def read(self) -> bytes:
        """Return the set of keys as it is now, in JSON (RFC 7517).

        Raises:
            Unavailable: KEYS_UNAVAILABLE.
        """
        ...


class KeySet(Generic[K]):
    """Keys by their ids.

    Args:
        source: Where they come from. It is asked by one at a time, and not again for a while.
        parse: Returns the keys of a set; raises ValueError when there is none to use.
        clock: Monotonic seconds.
    """

    def __init__(
        self, source: KeySource, parse: Callable[[bytes], Mapping[str, K]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = source
        self._parse = parse
        self._clock = clock
        self._keys: Mapping[str, K] = {}
        self._read_at = self._next_at = float("-inf")
        self._is_away = False
        self._reading: asyncio.Task[None] | None = None

    async def find(self, key_id: str) -> K | None:
        """Return a key, None when there is none with this id. Without an id it is the only one there is.

        Raises:
            Unavailable: AUTH_UNAVAILABLE when it may be a new one and the source is away.
        """
        is_known, is_fresh = self._usable(key_id) is not None, self._clock() - self._read_at < FRESH_S
        reading = None if is_known and is_fresh else self._begin()
        if reading and not is_known:
            await asyncio.shield(reading)
        found = self._usable(key_id)
        if found is None and self._is_away:
            raise Unavailable("The keys that tokens are signed with cannot be had right now.", "AUTH_UNAVAILABLE")
        return found

    async def close(self) -> None:
        """Stop reading."""
        await cancel_all([self._reading] if self._reading else [])

    def _usable(self, key_id: str) -> K | None:
        if self._clock() - self._read_at >= USABLE_S:
            return None
        if not key_id and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    def _begin(self) -> asyncio.Task[None] | None:
        """Return the reading that is under way, a new one, or None when it is too early for that."""
        if self._reading is None or self._reading.done():
            now = self._clock()
            if now < self._next_at:
                return None
            self._next_at = now + (AGAIN_S if self._keys else _FIRST_AGAIN_S)
            self._reading = asyncio.create_task(self._read(now))
        return self._reading

    async def _read(self, now: float) -> None:
        try:
            self._keys = self._parse(await self._source.read())
        except (Unavailable, ValueError) as error:
            # Callers are told, those who need a key that is not there; the others go on with what there is.
            self._is_away = True
            log.warning("signing_keys_unavailable", cause=repr(error.__cause__ or error))
        else:
            self._is_away, self._read_at, self._next_at = False, now, now + AGAIN_S
