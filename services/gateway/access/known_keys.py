"""Keys that are brought: looked up, and then known for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

from rag.access.api_key import parse
from rag.access.record import ApiKeyRecord, KeyStore
from rag.runtime.access import Identity
from rag.runtime.errors import Unauthenticated, Unavailable
from rag.runtime.logs import get_logger
from services.gateway.access.credentials import Guess
from services.gateway.access.remembered import Remembered

FRESH_S = 5.0
"""How long a key is good without a look: a revoked one opens nothing for longer."""
AWAY_S = 60.0
"""How long it is good while nobody can look."""
_REST_S = 1.0

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Seen:
    record: ApiKeyRecord
    identity: Identity
    at: float


class KnownKeys:
    """Tells who brings a key.

    A key that is known to be good is looked up again without counting as a guess, so that one who guesses does not lock out
    those who share his address.

    Args:
        store: Where keys are kept.
        pepper: That of the digests.
        clock: Monotonic seconds.
        now: Seconds since 1970.
    """

    def __init__(
        self,
        store: KeyStore,
        pepper: bytes,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._pepper = pepper
        self._clock = clock
        self._now = now
        self._seen: Remembered[str, _Seen] = Remembered()
        self._rests_until = float("-inf")

    async def identify(self, text: str, guess: Guess) -> Identity:
        """Return who brings this key."""
        digest = parse(text).digest(self._pepper)
        seen = self._seen.get(digest)
        if seen is None or self._clock() - seen.at >= FRESH_S:
            with nullcontext() if seen else guess():
                seen = await self._look(digest, seen)
        if not seen.record.is_good(self._now() * 1000):
            self._seen.forget(digest)
            raise _bad()
        return seen.identity

    def forget(self, key_id: str) -> None:
        """Look a key up again the next time it comes."""
        self._seen.forget_if(lambda seen: seen.record.id == key_id)

    async def _look(self, digest: str, seen: _Seen | None) -> _Seen:
        began = self._clock()  # before the store is asked: what happens while it answers is not known yet
        try:
            record = await self._asked(digest, began)
        except Unavailable as error:
            if seen and began - seen.at < AWAY_S:
                return seen
            message = "Nobody can tell right now whether this key is good."
            raise Unavailable(message, "AUTH_UNAVAILABLE") from error
        if record is None or not record.is_good(self._now() * 1000):
            self._seen.forget(digest)
            raise _bad()
        fresh = _Seen(record, Identity(record.tenant, record.scopes, record.id), began)
        self._seen.put(digest, fresh)
        return fresh

    async def _asked(self, digest: str, now: float) -> ApiKeyRecord | None:
        if now < self._rests_until:
            raise Unavailable("The keys could not be reached a moment ago.", "KEYS_UNAVAILABLE")
        try:
            return await self._store.find(digest)
        except Unavailable as error:
            # So a store that hangs costs one call its time, and not each of them.
            self._rests_until = self._clock() + _REST_S
            log.warning("keys_unavailable", reason=error.reason, cause=repr(error.__cause__))
            raise


def _bad() -> Unauthenticated:
    # One text for all: who tries keys learns nothing about them.
    return Unauthenticated("This API key is not known, or it has ended.", "BAD_CREDENTIAL")
