"""What the catalogue does to Redis in one step, as Lua; and the names of its keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError

from rag.runtime.errors import Unavailable

ERASURES = "rag:erasures"
"""Sorted set: `tenant/document/first-last`, by when it is due in ms."""
OPEN_VERSIONS = "rag:open_versions"
"""Sorted set: `tenant/document/version`, by when its writer is given up in ms."""
INDEX = "rag:index"
"""Hash: which collection the catalogue's documents are in, and of which model."""


def document_key(tenant: str, document_id: str) -> str:
    """Return the key of a document's live version (hash)."""
    return f"rag:{tenant}:document:{document_id}"


def documents_key(tenant: str) -> str:
    """Return the key of a tenant's documents (sorted set: id, by the number of its last commit)."""
    return f"rag:{tenant}:documents"


def versions_key(tenant: str, document_id: str) -> str:
    """Return the key of a document's counters (hash: last, deleted_through); it outlives the document."""
    return f"rag:{tenant}:versions:{document_id}"


def commits_key(tenant: str) -> str:
    """Return the key of a tenant's count of commits."""
    return f"rag:{tenant}:commits"


@contextmanager
def translated() -> Iterator[None]:
    """Turn an error of Redis into one of the house.

    Raises:
        Unavailable: CATALOGUE_UNAVAILABLE.
    """
    try:
        yield
    except (RedisError, OSError) as error:
        raise Unavailable("The catalogue is not reachable.", "CATALOGUE_UNAVAILABLE") from error


# KEYS: versions, open versions. ARGV: tenant/document, when its writer is given up.
OPEN = """
local version = redis.call('HINCRBY', KEYS[1], 'last', 1)
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1] .. '/' .. version)
return version
"""

# KEYS: document, documents, versions, commits, open versions, erasures.
# ARGV: tenant/document, id, version, now, then the fields of the document in pairs. Returns the live document.
COMMIT = """
local version = tonumber(ARGV[3])
local live = tonumber(redis.call('HGET', KEYS[1], 'version') or '0')
if live == version then return redis.call('HGETALL', KEYS[1]) end -- the answer of the first try was lost
local deleted = tonumber(redis.call('HGET', KEYS[3], 'deleted_through') or '0')
local given_up = redis.call('ZREM', KEYS[5], ARGV[1] .. '/' .. ARGV[3]) == 0
if given_up or version < live or version <= deleted then
  redis.call('ZADD', KEYS[6], ARGV[4], ARGV[1] .. '/' .. ARGV[3] .. '-' .. ARGV[3])
  return false
end
local created = redis.call('HGET', KEYS[1], 'created_ms') or ARGV[4]
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'version', ARGV[3], 'created_ms', created, 'updated_ms', ARGV[4], unpack(ARGV, 5))
redis.call('ZADD', KEYS[2], redis.call('INCR', KEYS[4]), ARGV[2])
if version > 1 then
  redis.call('ZADD', KEYS[6], ARGV[4], ARGV[1] .. '/1-' .. string.format('%d', version - 1))
end
return redis.call('HGETALL', KEYS[1])
"""

# KEYS: open versions, erasures. ARGV: tenant/document, version, now.
ABANDON = """
if redis.call('ZREM', KEYS[1], ARGV[1] .. '/' .. ARGV[2]) == 1 then
  redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1] .. '/' .. ARGV[2] .. '-' .. ARGV[2])
end
"""

# KEYS: document, documents, versions, erasures. ARGV: tenant/document, id, now.
DELETE = """
local live = redis.call('HGET', KEYS[1], 'version')
if not live then return false end
local last = redis.call('HGET', KEYS[3], 'last')
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[2])
redis.call('HSET', KEYS[3], 'deleted_through', last)
redis.call('ZADD', KEYS[4], ARGV[3], ARGV[1] .. '/1-' .. last)
return live
"""

# Versions whose writer is given up become erasures; a commit that comes later finds them gone and is refused.
# KEYS: open versions, erasures. ARGV: given up until, now, how many at most.
GIVE_UP = """
for _, open in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])) do
  local version = string.match(open, '[^/]+$')
  redis.call('ZREM', KEYS[1], open)
  redis.call('ZADD', KEYS[2], ARGV[2], open .. '-' .. version)
end
"""

# KEYS: index. ARGV: the fields of the index in pairs. Returns those that count: the first ones ever recorded.
RECORD_INDEX = """
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('HSET', KEYS[1], unpack(ARGV)) end
return redis.call('HMGET', KEYS[1], 'collection', 'model', 'revision', 'dimension', 'analyzer')
"""
