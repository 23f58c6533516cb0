"""How vectors and claims to them are laid out in Redis."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from services.embedder.adapters.redis_backlog import Entry
from services.embedder.caching import Claim, Document

# KEYS: a document's claims. ARGV: for each vector its key, its bytes, its seconds to live.
PUT_CLAIMED = """
for i = 1, #ARGV, 3 do
  if redis.call('SISMEMBER', KEYS[1], ARGV[i]) == 1 then
    redis.call('SET', ARGV[i], ARGV[i + 1], 'EX', ARGV[i + 2])
  end
end
"""


def claims_key(document: Document) -> str:
    """Return the key of a document's claims (set: keys of vectors)."""
    return f"rag:{document.tenant}:vectors:{document.document_id}"


def claim_into(pipeline: Any, claim: Claim, ttl_s: int) -> None:
    """Queue the commands that note a claim."""
    name = claims_key(claim.document)
    pipeline.sadd(name, *claim.keys)
    pipeline.expire(name, ttl_s)


def put_into(pipeline: Any, entries: Iterable[Entry], ttl_s: Callable[[], int]) -> None:
    """Queue the commands that write vectors: those that only documents asked for, under the condition of their claims."""
    claimed: dict[Document, list[str | bytes | int]] = defaultdict(list)
    for entry in entries:
        if None in entry.asked_by:
            pipeline.set(entry.key, entry.value, ex=ttl_s())
        else:
            for document in entry.asked_by:
                if document is not None:
                    claimed[document] += (entry.key, entry.value, ttl_s())
    for document, arguments in claimed.items():
        pipeline.eval(PUT_CLAIMED, 1, claims_key(document), *arguments)
