"""The names of the catalogue's keys in Redis, and what its errors mean here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any

from rag.runtime.context import remaining_s
from rag.runtime.errors import Unavailable
from rag.runtime.redis import reached

_WAIT_S = 0.05
_MOST_WAITS = 600

ERASURES = "rag:erasures"
"""Sorted set: `tenant/document/first-last`, by when it is due in ms."""
OPEN_VERSIONS = "rag:open_versions"
"""Sorted set: `tenant/document/version`, by when its writer is given up in ms."""
DELETIONS = "rag:deletions"
"""Sorted set: `tenant/document`, by when its erasure is due, in microseconds by the clock of Redis."""
VERSION_FLOOR = "rag:version_floor"
"""Text: new versions are numbered above it. A restore raises it."""
REMEMBERED_S = 8 * 24 * 3600
"""How long deletions of unknown documents, revocations and fences are remembered: longer than any job lives."""
INDEX = "rag:index"
"""Hash: which collection the catalogue's documents are in, of which model, and since when."""
BUILDING = "rag:index:building"
"""Hash: the rebuild that is under way: id, wish, progress, trouble."""
BUILDER = "rag:index:builder"
"""Who is at it; expires."""
RETIRED = "rag:index:retired"
"""Hash: what is no longer live and will be dropped, by its collection."""
COMPARISON = "rag:index:comparison"
"""What the last comparison found."""
OUTCOME = "rag:index:outcome"
"""How the last rebuild ended."""
GENERATIONS = "rag:index:generations"
"""Counts the indexes ever built, so that no two have one name."""
CHANGES = "rag:changes"
"""Counts the commits and deletions of all tenants."""
BARRIER = "rag:index:barrier"
"""While it exists, commits and deletions wait: the index is about to be switched. It expires by itself."""


def document_key(tenant: str, document_id: str) -> str:
    """Return the key of a document's live version (hash)."""
    return f"rag:{tenant}:document:{document_id}"


def documents_key(tenant: str) -> str:
    """Return the key of a tenant's documents (sorted set: id, by the number of its last commit)."""
    return f"rag:{tenant}:documents"


def stored_key(tenant: str) -> str:
    """Return the key of the count of what a tenant stores (hash: documents, bytes, and through which commit it is complete, or `all`).

    It expires, and is counted anew then: whatever made it wrong, it is right again after that.
    """
    return f"rag:{tenant}:stored"


def versions_key(tenant: str, document_id: str) -> str:
    """Return the key of a document's versions; it outlives the document.

    Hash: last, deleted_through, deleted_us, and `open:<version>` with the accepted_us of each version that is being written.
    Behind this key and a colon stand those of `deleted` (deleted_us of a document that had no version),
    `revoked:<accepted_us>` and `fence:<accepted_us>`; they expire.
    """
    return f"rag:{tenant}:versions:{document_id}"


def version_keys(tenant: str, document_id: str) -> list[str]:
    """Return the keys with which the scripts about a document's versions begin."""
    return [
        document_key(tenant, document_id),
        versions_key(tenant, document_id),
        OPEN_VERSIONS,
        ERASURES,
        DELETIONS,
    ]


async def unbarred(ask: Callable[[], Awaitable[Any]], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> Any:
    """Run a script until it no longer answers that it has to wait for the switch of the index; return its answer.

    Raises:
        DeadlineExceeded: when the call has no time left.
        Unavailable: INDEX_SWITCHING.
    """
    for _ in range(_MOST_WAITS):
        answer = await ask()
        if answer != b"WAIT":
            return answer
        await sleep(min(_WAIT_S, remaining_s(_WAIT_S)))
    raise Unavailable("The index is being switched; try again in a moment.", "INDEX_SWITCHING")


def passages_field(collection: str) -> str:
    """Return the field of a document's hash that counts its passages in one collection.

    It is there when the passages were copied to that collection: another splitter may have made another number of them.
    """
    return f"passages:{collection}"


def retrieval_key(tenant: str, digest: str) -> str:
    """Return the key of what a search found (string); `digest` stands for all that it depends on. It expires."""
    return f"rag:{tenant}:retrieval:{digest}"


def retrievals_key(tenant: str) -> str:
    """Return the key of all that searches of a tenant found (sorted set: digest, by when it expires in seconds). It expires."""
    return f"rag:{tenant}:retrievals"


def retrievals_epoch_key(tenant: str) -> str:
    """Return the key of what is another one since all of that was forgotten (text). It expires."""
    return f"rag:{tenant}:retrievals_epoch"


def translated() -> AbstractContextManager[None]:
    """Turn an error of Redis inside a block into Unavailable CATALOGUE_UNAVAILABLE."""
    return reached("The catalogue is not reachable.", "CATALOGUE_UNAVAILABLE")
