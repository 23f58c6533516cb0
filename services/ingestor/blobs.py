"""Where uploads lie until they are indexed."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from rag.runtime.errors import RagError
from rag.runtime.logs import get_logger

log = get_logger(__name__)


def blob_name(tenant: str, job_id: str) -> str:
    """Where a job's upload lies. It belongs to this job alone, so removing it cannot race with an upload of the same bytes."""
    return f"{tenant}/{job_id}"


class BlobDraft(Protocol):
    """A blob being written. Nobody can see it yet."""

    async def write(self, data: bytes) -> None:
        """Append bytes."""
        ...

    async def commit(self) -> None:
        """Make the blob exist, complete and synced to disk, in one step."""
        ...


class BlobStore(Protocol):
    """Keeps blobs by name, such as `tenant/job`. Raises `Unavailable` BLOBS_UNAVAILABLE when it cannot."""

    def draft(self, name: str) -> AbstractAsyncContextManager[BlobDraft]:
        """Begin a blob. Leaving the context without a commit leaves nothing."""
        ...

    def local(self, name: str) -> AbstractAsyncContextManager[Path]:
        """A local file with the blob's bytes, for the length of the context; `NotFound` UPLOAD_MISSING without it."""
        ...

    async def exists(self, name: str) -> bool:
        """Whether there is such a blob."""
        ...

    async def remove(self, name: str) -> None:
        """Remove a blob; one that is not there is fine."""
        ...


async def discard(blobs: BlobStore, name: str) -> None:
    """Remove a blob that nobody needs any more. One that cannot be removed now is swept later, as belonging to no job at work."""
    try:
        await blobs.remove(name)
    except RagError as error:
        log.warning("blob_not_removed", reason=error.reason, job_id=name.partition("/")[2])
