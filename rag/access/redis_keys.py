"""Keys in Redis: one hash for each key, and for each tenant the ids of its own."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis

from rag.access.record import ApiKeyRecord
from rag.ids import check_id, check_tenant
from rag.runtime.access import OPERATOR_SCOPES
from rag.runtime.errors import FailedPrecondition, NotFound, Unavailable
from rag.runtime.redis import reached

MAX_KEYS = 1_000
"""For each tenant, those that ended within the last 90 days included."""
_KEPT_MS = 90 * 86_400_000
_TIMEOUT_S = 1.0

# The one key of Redis without a tenant in front: whoever brings a credential has no tenant before it was found.
_RECORD = "rag:keys:"
_PEPPER = "rag:keys:pepper"
_DIFFERS = (
    "The keys in this Redis were made with another pepper. Bring back its file gateway/pepper in the data folder, or set "
    "RAG_KEY_PEPPER to it."
)

# A record goes away by itself some time after its end; its id goes when the next one looks.
_SWEEP = """
local function sweep(ids)
  local own = redis.call('HGETALL', ids)
  for i = 1, #own, 2 do
    if redis.call('EXISTS', 'rag:keys:' .. own[i + 1]) == 0 then redis.call('HDEL', ids, own[i]) end
  end
end
"""

# KEYS: the record, the tenant's ids, the pepper's mark. ARGV: the mark, the most keys, the id, the digest, when the record
# goes (ms since 1970, 0 for never), and the fields.
_ADD = f"""{_SWEEP}
local mark = redis.call('GET', KEYS[3])
if mark and mark ~= ARGV[1] then return 'pepper' end
if redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[2]) then sweep(KEYS[2]) end
if redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[2]) then return 'full' end
redis.call('SET', KEYS[3], ARGV[1])
redis.call('HSET', KEYS[1], unpack(ARGV, 6))
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
if ARGV[5] ~= '0' then redis.call('PEXPIREAT', KEYS[1], ARGV[5]) end
return 'added'
"""

# KEYS: the tenant's ids.
_LIST = f"""{_SWEEP}
sweep(KEYS[1])
local found = {{}}
for _, digest in ipairs(redis.call('HVALS', KEYS[1])) do
  found[#found + 1] = redis.call('HGETALL', 'rag:keys:' .. digest)
end
return found
"""

# KEYS: the tenant's ids. ARGV: the id, now, when the record goes.
_REVOKE = """
local digest = redis.call('HGET', KEYS[1], ARGV[1])
local record = 'rag:keys:' .. (digest or '')
if not digest or redis.call('EXISTS', record) == 0 then return false end
if redis.call('HSETNX', record, 'revoked_ms', ARGV[2]) == 1 then redis.call('PEXPIREAT', record, ARGV[3]) end
return redis.call('HGETALL', record)
"""


class RedisKeys:
    """The keys of all tenants.

    Args:
        redis: A client.
        pepper: That of the digests. Keys of two peppers in one Redis would be a mistake; the first one leaves its mark.
    """

    def __init__(self, redis: Redis, pepper: bytes) -> None:
        self._redis = redis
        self._mark = hmac.digest(pepper, b"rag:keys:pepper", "sha256").hex()
        self._add = redis.register_script(_ADD)
        self._list = redis.register_script(_LIST)
        self._revoke = redis.register_script(_REVOKE)

    async def add(self, record: ApiKeyRecord, digest: str) -> None:
        """Keep a new key."""
        gone_ms = record.expires_ms + _KEPT_MS if record.expires_ms else 0
        arguments = [self._mark, MAX_KEYS, record.id, digest, gone_ms, *_fields(record)]
        async with _reached():
            outcome = await self._add(keys=[_RECORD + digest, _ids(record.tenant), _PEPPER], args=arguments)
        if outcome == b"pepper":
            message = f"{_DIFFERS} To give the old keys up, delete {_PEPPER} in Redis."
            raise FailedPrecondition(message, "PEPPER_DIFFERS")
        if outcome == b"full":
            message = f"A tenant has at most {MAX_KEYS} keys; revoked ones count for 90 days."
            raise FailedPrecondition(message, "TOO_MANY_KEYS")

    async def find(self, digest: str) -> ApiKeyRecord | None:
        """Return the key with this digest."""
        async with _reached():
            found: Any = await self._redis.hgetall(_RECORD + digest)
            mark: Any = None if found else await self._redis.get(_PEPPER)
        if mark and not hmac.compare_digest(mark.decode(), self._mark):
            # Every key would seem unknown: better to say that nobody can tell.
            raise Unavailable(f"The API keys cannot be checked: {_DIFFERS}", "PEPPER_DIFFERS")
        return _record(found) if found else None

    async def list(self, tenant: str) -> Sequence[ApiKeyRecord]:
        """Return a tenant's keys, newest first."""
        async with _reached():
            found = await self._list(keys=[_ids(tenant)])
        return sorted(map(_unpacked, found), key=lambda record: (record.created_ms, record.id), reverse=True)

    async def revoke(self, tenant: str, key_id: str, now_ms: int) -> ApiKeyRecord:
        """End a key and return it."""
        keys = [_ids(tenant)]
        async with _reached():
            found = await self._revoke(keys=keys, args=[check_id(key_id, "key_id"), now_ms, now_ms + _KEPT_MS])
        if not found:
            raise NotFound("There is no such key.", "KEY_NOT_FOUND", key_id=key_id)
        return _unpacked(found)


@asynccontextmanager
async def _reached() -> AsyncIterator[None]:
    with reached("The API keys cannot be reached right now.", "KEYS_UNAVAILABLE"):
        async with asyncio.timeout(_TIMEOUT_S):
            yield


def _ids(tenant: str) -> str:
    return f"rag:{check_tenant(tenant)}:keys"


def _fields(record: ApiKeyRecord) -> Sequence[str | int]:
    ends = {} if record.expires_ms is None else {"expires_ms": record.expires_ms}
    fields: dict[str, str | int] = {
        "id": record.id,
        "tenant": record.tenant,
        "name": record.name,
        "scopes": " ".join(sorted(record.scopes)),
        "created_ms": record.created_ms,
        **ends,
    }
    return [part for field in fields.items() for part in field]


def _unpacked(pairs: Any) -> ApiKeyRecord:
    return _record(dict(zip(pairs[::2], pairs[1::2], strict=True)))


def _record(found: Mapping[bytes, bytes]) -> ApiKeyRecord:
    texts = {name.decode(): value.decode() for name, value in found.items()}
    return ApiKeyRecord(
        texts["id"],
        check_tenant(texts["tenant"]),
        texts["name"],
        frozenset(texts["scopes"].split()) & OPERATOR_SCOPES,
        int(texts["created_ms"]),
        int(texts["expires_ms"]) if "expires_ms" in texts else None,
        int(texts["revoked_ms"]) if "revoked_ms" in texts else None,
    )
