"""Making keys: what a name, scopes and an end may be."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from rag.access.api_key import ApiKey, new_key
from rag.access.record import ApiKeyRecord, KeyStore
from rag.ids import check_tenant, new_id
from rag.runtime.errors import InvalidInput

MAX_NAME = 100
_MAX_TTL_S = 100 * 365 * 86_400


class Issuer:
    """Makes keys and has them kept.

    Args:
        store: Where.
        pepper: Without it the digests that are kept match no key.
        make: Returns a new key.
        now: Seconds since 1970.
    """

    def __init__(
        self,
        store: KeyStore,
        pepper: bytes,
        make: Callable[[], ApiKey] = new_key,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._pepper = pepper
        self._make = make
        self._now = now

    async def issue(
        self, tenant: str, name: str, scopes: Collection[str], ttl_s: int, known: Collection[str]
    ) -> tuple[str, ApiKeyRecord]:
        """Make a key; returns the key itself, which nobody can tell again, and what is kept of it.

        Args:
            tenant: Whose it is.
            name: What people call it.
            scopes: What it may.
            ttl_s: How long it lasts, in seconds; 0 for no end.
            known: The scopes there are.

        Raises:
            InvalidInput: BAD_KEY_NAME, BAD_SCOPES, BAD_TTL.
            FailedPrecondition: PEPPER_DIFFERS, TOO_MANY_KEYS.
            Unavailable: KEYS_UNAVAILABLE.
        """
        _check(name, scopes, ttl_s, known)
        now_ms = int(self._now() * 1000)
        expires_ms = now_ms + ttl_s * 1000 if ttl_s else None
        record = ApiKeyRecord(new_id("key"), check_tenant(tenant), name, frozenset(scopes), now_ms, expires_ms)
        key = self._make()
        await self._store.add(record, key.digest(self._pepper))
        return key.text, record


def _check(name: str, scopes: Collection[str], ttl_s: int, known: Collection[str]) -> None:
    if not (name.strip() and len(name) <= MAX_NAME and name.isprintable()):
        raise InvalidInput(f"name must be 1 to {MAX_NAME} printable characters.", "BAD_KEY_NAME", field="name")
    if not scopes or not set(scopes) <= set(known):
        message = f"scopes must be one or more of {', '.join(sorted(known))}."
        raise InvalidInput(message, "BAD_SCOPES", field="scopes")
    if not 0 <= ttl_s <= _MAX_TTL_S:
        message = "ttl_s must be 0, for no end, or a number of seconds up to a hundred years."
        raise InvalidInput(message, "BAD_TTL", field="ttl_s")
