"""The keys of a tenant, as its admins see them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from rag.access.issuing import Issuer
from rag.access.record import ApiKeyRecord, KeyStore
from rag.runtime.access import TENANT_SCOPES, Identity
from rag.runtime.errors import PermissionDenied


class Keys:
    """Makes, lists and ends keys.

    Args:
        issuer: Makes them.
        store: Where they are kept.
        forget: Told the id of each key that ends, so that this process lets nobody in with it from now on.
        now: Seconds since 1970.
    """

    def __init__(
        self,
        issuer: Issuer,
        store: KeyStore,
        forget: Callable[[str], None] = lambda _key_id: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._issuer = issuer
        self._store = store
        self._forget = forget
        self._now = now

    async def create(
        self, tenant: str, name: str, scopes: Collection[str], ttl_s: int, allowed_by: Identity
    ) -> tuple[str, ApiKeyRecord]:
        """Make a key for a tenant; returns the key itself, which nobody can tell again, and what is kept of it.

        Args:
            tenant: Whose it is.
            name: What people call it: 1 to 100 characters.
            scopes: What it may: `query`, `ingest`, `admin`, at least one.
            ttl_s: How long it lasts, in seconds; 0 for no end.
            allowed_by: Who makes it. Nobody gives what he does not have.

        Raises:
            InvalidInput: BAD_KEY_NAME, BAD_SCOPES, BAD_TTL.
            PermissionDenied: SCOPE_MISSING.
            FailedPrecondition: PEPPER_DIFFERS, TOO_MANY_KEYS.
            Unavailable: KEYS_UNAVAILABLE.
        """
        lacking = sorted(scope for scope in scopes if scope in TENANT_SCOPES and not allowed_by.may(scope))
        if lacking:
            message = f"A key cannot be given the scope `{lacking[0]}` by one who does not have it."
            raise PermissionDenied(message, "SCOPE_MISSING", scope=lacking[0])
        return await self._issuer.issue(tenant, name, scopes, ttl_s, TENANT_SCOPES)

    async def list(self, tenant: str) -> Sequence[ApiKeyRecord]:
        """Return a tenant's keys, newest first, revoked and expired ones too.

        Raises:
            Unavailable: KEYS_UNAVAILABLE.
        """
        return await self._store.list(tenant)

    async def revoke(self, tenant: str, key_id: str) -> ApiKeyRecord:
        """End a key and return it; within five seconds nobody gets in with it. To do so twice changes nothing.

        Raises:
            InvalidInput: BAD_ID.
            NotFound: KEY_NOT_FOUND, also for a key of another tenant.
            Unavailable: KEYS_UNAVAILABLE.
        """
        record = await self._store.revoke(tenant, key_id, int(self._now() * 1000))
        self._forget(key_id)
        return record
