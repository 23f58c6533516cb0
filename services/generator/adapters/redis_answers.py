"""Answers in Redis: each a hash, a set of all of a tenant, and for each document a set of the answers made from it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import orjson
from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from rag.catalogue_state import STATE, changes_key, commits_key
from rag.passage import Passage
from rag.runtime.redis import reached
from rag.runtime.redis_erasing import ERASE_ALL, PAGE, in_pages
from services.generator.caching.answers import Reading
from services.generator.caching.entries import Entry, Kept, Stamp
from services.generator.events import Checks, Citation, FinishReason, Source, Token

_FORMAT = 2
"""Grows when entries change their shape; what was written in another one is not there."""
_LARGEST_BYTES = 262_144
_TIMEOUT_S = 0.5

# KEYS: changes and commits of the tenant, the answer, the tenant's epoch.
_READ = (
    STATE
    + """
local mark, stamp, body = unpack(redis.call('HMGET', KEYS[3], 'mark', 'stamp', 'body'))
return {state, redis.call('GET', KEYS[2]) or '0', redis.call('GET', KEYS[4]) or '', mark, stamp, body}
"""
)

# KEYS: the answer, the tenant's epoch, all its answers, then for each document the mark that it was forgotten and its answers. ARGV: mark,
# stamp, body, the documents between spaces, seconds to live, digest, index, commits, epoch. Nothing is kept that was looked up before one
# of the documents was forgotten, or all answers were: its text would come back. Answers whose time is over leave the sets here, so these
# do not outgrow what there is.
_KEEP = """
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[9] then return 0 end
for at = 4, #KEYS, 2 do
  local commits, index = string.match(redis.call('GET', KEYS[at]) or '', '^(%d+) (.*)$')
  if commits and (index ~= ARGV[7] or tonumber(ARGV[8]) <= tonumber(commits)) then return 0 end
end
local time = redis.call('TIME')
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'mark', ARGV[1], 'stamp', ARGV[2], 'body', ARGV[3], 'documents', ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[5])
for at = 3, #KEYS, 2 do
  redis.call('ZREMRANGEBYSCORE', KEYS[at], '-inf', '(' .. time[1])
  redis.call('ZADD', KEYS[at], time[1] + ARGV[5], ARGV[6])
  if redis.call('TTL', KEYS[at]) < tonumber(ARGV[5]) then redis.call('EXPIRE', KEYS[at], ARGV[5]) end
end
return 1
"""

# KEYS: the answer. ARGV: the mark of the one that was read, its new stamp, empty to remove it.
_SETTLE = """
if redis.call('HGET', KEYS[1], 'mark') ~= ARGV[1] then return 0 end
if ARGV[2] == '' then return redis.call('UNLINK', KEYS[1]) end
redis.call('HSET', KEYS[1], 'stamp', ARGV[2])
return 1
"""

# KEYS: the document's answers, the mark that it was forgotten. ARGV: what the keys of answers begin with, the document's id, the mark,
# its seconds to live, how many at once. Another answer may be kept under the key by now: it is erased only when it is made from
# this document too. Returns how many were looked at and how many erased.
_FORGET = """
redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[4])
local digests, erased = redis.call('ZRANGE', KEYS[1], 0, ARGV[5] - 1), 0
for _, digest in ipairs(digests) do
  local documents = redis.call('HGET', ARGV[1] .. digest, 'documents')
  if documents and string.find(' ' .. documents .. ' ', ' ' .. ARGV[2] .. ' ', 1, true) then
    erased = erased + redis.call('UNLINK', ARGV[1] .. digest)
  end
  redis.call('ZREM', KEYS[1], digest)
end
return {#digests, erased}
"""


def answer_key(tenant: str, digest: str) -> str:
    """Return the key of an answer (hash: mark, stamp, body, documents). It expires."""
    return f"rag:{tenant}:answer:{digest}"


def answers_key(tenant: str) -> str:
    """Return the key of all answers of a tenant (sorted set: digest, by when it expires in seconds). It expires."""
    return f"rag:{tenant}:answers"


def epoch_key(tenant: str) -> str:
    """Return the key of what is another one since all answers were forgotten (text). It expires."""
    return f"rag:{tenant}:answers_epoch"


def answers_of_key(tenant: str, document_id: str) -> str:
    """Return the key of the answers made from a document (sorted set: digest, by when it expires in seconds). It expires."""
    return f"rag:{tenant}:answers_of:{document_id}"


def forgotten_key(tenant: str, document_id: str) -> str:
    """Return the key of the mark that a document was forgotten (text: commits and index then). It expires."""
    return f"rag:{tenant}:answers_forgotten:{document_id}"


class RedisAnswers:
    """Keeps entries of up to 256 KB; each method is one round trip, but for forgetting many.

    Args:
        redis: A client that gives bytes.
        longest_call_s: How long an answer may be in the making, in seconds.
    """

    def __init__(self, redis: Redis, longest_call_s: float) -> None:
        self._redis = redis
        self._mark_s = int(longest_call_s) + 60
        self._read = redis.register_script(_READ)
        self._keep = redis.register_script(_KEEP)
        self._settle = redis.register_script(_SETTLE)
        self._forget = redis.register_script(_FORGET)
        self._forget_all = redis.register_script(ERASE_ALL)

    async def read(self, tenant: str, key: str) -> Reading:
        """Return the state of the catalogue and what is kept under `key`."""
        keys = [changes_key(tenant), commits_key(tenant), answer_key(tenant, key), epoch_key(tenant)]
        async with _reached():
            found: Any = await self._read(keys=keys)
        state, commits, epoch, *kept = found  # what Lua has not ends the list
        entry = decoded(kept[1], kept[2]) if len(kept) == 3 and all(kept) else None
        return Reading(state.decode(), int(commits), Kept(entry, kept[0].decode()) if entry else None, epoch.decode())

    async def keep(self, tenant: str, key: str, entry: Entry, ttl_s: int, epoch: str = "") -> bool:
        """Keep an entry unless it is too large, made before one of its documents was forgotten, or in another epoch."""
        body = encoded(entry)
        if body is None or len(body) > _LARGEST_BYTES:
            return False
        documents = sorted({document_id for document_id, _ in entry.versions()})
        keys = [answer_key(tenant, key), epoch_key(tenant), answers_key(tenant)]
        for document_id in documents:
            keys += (forgotten_key(tenant, document_id), answers_of_key(tenant, document_id))
        stamp, mark = entry.stamp, hashlib.sha256(body).hexdigest()
        said: list[str | bytes | int] = [mark, _stamp(stamp), body, " ".join(documents), ttl_s]
        async with _reached():
            return bool(await self._keep(keys=keys, args=[*said, key, stamp.index, stamp.commits, epoch]))

    async def settle(self, tenant: str, key: str, kept: Kept, stamp: Stamp | None) -> None:
        """Give the entry that was read another stamp, or remove it."""
        async with _reached():
            await self._settle(keys=[answer_key(tenant, key)], args=[kept.mark, _stamp(stamp) if stamp else b""])

    async def forget(self, tenant: str, document_id: str, stamp: Stamp) -> int:
        """Erase the entries made from a document, some at a time, and leave a mark."""
        keys = [answers_of_key(tenant, document_id), forgotten_key(tenant, document_id)]
        mark = f"{stamp.commits} {stamp.index}"
        args: list[str | int] = [answer_key(tenant, ""), document_id, mark, self._mark_s, PAGE]
        return await in_pages(partial(_run, self._forget, keys, args))

    async def forget_all(self, tenant: str) -> int:
        """Begin another epoch and erase all entries, some at a time."""
        keys = [answers_key(tenant), epoch_key(tenant)]
        args: list[str | int] = [answer_key(tenant, ""), PAGE, self._mark_s]
        return await in_pages(partial(_run, self._forget_all, keys, args))


def encoded(entry: Entry) -> bytes | None:
    """Return an entry but for its stamp as bytes; None when it holds half a character, which is no text."""
    pieces = [piece.text if isinstance(piece, Token) else piece for piece in entry.pieces]
    parts = [_FORMAT, entry.searched_for, entry.sources, pieces]
    try:
        return orjson.dumps([*parts, entry.model, entry.provider, entry.reason, entry.checks])
    except orjson.JSONEncodeError:
        return None


def decoded(stamp: bytes, body: bytes) -> Entry | None:
    """Return the entry that bytes stand for; None for bytes of another form, such as an older one's."""
    try:
        made, searched_for, sources, pieces, model, provider, reason, checks = orjson.loads(body)
        if made != _FORMAT:
            return None
        return Entry(
            searched_for,
            tuple(Source(**{**source, "passage": Passage(**source["passage"])}) for source in sources),
            tuple(Token(piece) if isinstance(piece, str) else Citation(**piece) for piece in pieces),
            model,
            provider,
            FinishReason(reason),
            Checks(**checks),
            Stamp(*orjson.loads(stamp)),
        )
    except (ValueError, TypeError, KeyError):
        return None


async def _run(script: AsyncScript, keys: list[str], args: list[str | int]) -> tuple[int, int]:
    async with _reached():
        looked_at, erased = await script(keys=keys, args=args)
    return looked_at, erased


def _stamp(stamp: Stamp) -> bytes:
    return orjson.dumps([stamp.index, stamp.state, stamp.commits])


@asynccontextmanager
async def _reached() -> AsyncIterator[None]:
    """Give up soon, and turn an error of Redis into one of the house."""
    with reached("The cache of answers is not reachable.", "CACHE_UNAVAILABLE"):
        async with asyncio.timeout(_TIMEOUT_S):
            yield
