"""What is kept of an API key, and how it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """All that is known of a key; nothing of it opens anything."""

    id: str
    tenant: str
    name: str
    scopes: frozenset[str]
    created_ms: int
    """Milliseconds since 1970, as the other times."""
    expires_ms: int | None = None
    revoked_ms: int | None = None

    def is_good(self, now_ms: float) -> bool:
        """Tell whether it still opens the door."""
        return self.revoked_ms is None and (self.expires_ms is None or now_ms < self.expires_ms)


class KeyStore(Protocol):
    """Where keys are kept. What it cannot reach is Unavailable KEYS_UNAVAILABLE, what it cannot read PEPPER_DIFFERS."""

    async def add(self, record: ApiKeyRecord, digest: str) -> None:
        """Keep a new key.

        Raises:
            FailedPrecondition: PEPPER_DIFFERS, TOO_MANY_KEYS.
        """
        ...

    async def find(self, digest: str) -> ApiKeyRecord | None:
        """Return the key with this digest, revoked or expired too; None when nobody was given it."""
        ...

    async def list(self, tenant: str) -> Sequence[ApiKeyRecord]:
        """Return a tenant's keys, newest first, revoked and expired ones too."""
        ...

    async def revoke(self, tenant: str, key_id: str, now_ms: int) -> ApiKeyRecord:
        """End a key and return it; one that is revoked already stays as it is.

        Raises:
            NotFound: KEY_NOT_FOUND, also for a key of another tenant.
        """
        ...
