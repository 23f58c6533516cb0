"""A store of keys that tests can steer, and clocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rag.access.record import ApiKeyRecord
from rag.runtime.errors import NotFound, Unavailable


@dataclass
class Time:
    """A clock, monotonic or not."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class DictKeys:
    """Keys in memory."""

    records: dict[str, ApiKeyRecord] = field(default_factory=dict)
    is_away: bool = False
    asked: int = 0

    async def add(self, record: ApiKeyRecord, digest: str) -> None:
        self.records[digest] = record

    async def find(self, digest: str) -> ApiKeyRecord | None:
        self.asked += 1
        if self.is_away:
            raise Unavailable("Away.", "KEYS_UNAVAILABLE")
        return self.records.get(digest)

    async def list(self, tenant: str) -> Sequence[ApiKeyRecord]:
        own = [record for record in self.records.values() if record.tenant == tenant]
        return sorted(own, key=lambda record: (record.created_ms, record.id), reverse=True)

    async def revoke(self, tenant: str, key_id: str, now_ms: int) -> ApiKeyRecord:
        for digest, record in self.records.items():
            if (record.tenant, record.id) == (tenant, key_id):
                self.records[digest] = replace(record, revoked_ms=record.revoked_ms or now_ms)
                return self.records[digest]
        raise NotFound("There is no such key.", "KEY_NOT_FOUND", key_id=key_id)
