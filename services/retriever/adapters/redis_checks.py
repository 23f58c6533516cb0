"""What became of documents, as Redis knows it."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from redis.asyncio import Redis

from rag.catalogue_state import STATE, changes_key, commits_key
from services.retriever.adapters.redis_keys import document_key, documents_key, translated
from services.retriever.checking import Reading, Version

# KEYS: changes, a document's without its id, commits, documents. ARGV: ids and versions between spaces, the count of commits after which
# documents are told, empty for none, how many at most. Returns state, commits, the places of the versions that are not live,
# the documents, as JSON. Numbers stay texts, which keeps them exact; an empty list becomes an object there.
_CHECK = (
    STATE
    + """
local gone, place = {}, 0
for id, version in string.gmatch(ARGV[1], '(%S+) (%S+)') do
  if redis.call('HGET', KEYS[2] .. id, 'version') ~= version then gone[#gone + 1] = place end
  place = place + 1
end
local committed = {}
if ARGV[2] ~= '' then
  committed = redis.call('ZREVRANGEBYSCORE', KEYS[4], '+inf', '(' .. ARGV[2], 'LIMIT', 0, ARGV[3])
end
return cjson.encode({state, redis.call('GET', KEYS[3]) or '0', gone, committed})
"""
)


class RedisChecks:
    """Each check is one round trip."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._check = redis.register_script(_CHECK)

    async def check(self, tenant: str, versions: Collection[Version], since: int | None, limit: int) -> Reading:
        """Return the state, those of the versions that are not live, and the documents committed after `since` commits."""
        asked = list(versions)
        wanted = " ".join(f"{document_id} {version}" for document_id, version in asked)
        keys = [changes_key(tenant), document_key(tenant, ""), commits_key(tenant), documents_key(tenant)]
        with translated():
            answer: Any = await self._check(keys=keys, args=[wanted, "" if since is None else since, limit])
        state, commits, gone, committed = json.loads(answer)
        return Reading(state, int(commits), [asked[place] for place in gone], list(committed))
