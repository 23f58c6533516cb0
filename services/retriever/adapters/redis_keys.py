"""The names of the catalogue's keys in Redis, and what its errors mean here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError

from rag.runtime.errors import Unavailable

ERASURES = "rag:erasures"
"""Sorted set: `tenant/document/first-last`, by when it is due in ms."""
OPEN_VERSIONS = "rag:open_versions"
"""Sorted set: `tenant/document/version`, by when its writer is given up in ms."""
DELETIONS = "rag:deletions"
"""Sorted set: `tenant/document`, by when its erasure is due, in microseconds by the clock of Redis."""
REMEMBERED_S = 8 * 24 * 3600
"""How long deletions of unknown documents, revocations and fences are remembered: longer than any job lives."""
INDEX = "rag:index"
"""Hash: which collection the catalogue's documents are in, and of which model."""


def document_key(tenant: str, document_id: str) -> str:
    """Return the key of a document's live version (hash)."""
    return f"rag:{tenant}:document:{document_id}"


def documents_key(tenant: str) -> str:
    """Return the key of a tenant's documents (sorted set: id, by the number of its last commit)."""
    return f"rag:{tenant}:documents"


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
