"""Compares uploads, jobs and queue with each other, at the start and now and then, repairs what a crash left, and reports it.

What can be left over: the upload of a client that was never answered, the upload of a job that is at its end, the draft of an
upload that broke off with its process, a job that no queue entry leads to any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import Protocol

from rag.runtime.errors import RagError
from rag.runtime.logs import get_logger
from services.ingestor.jobs import JobState
from services.ingestor.metrics import RECONCILED

log = get_logger(__name__)

YOUNG_S = 60.0
"""An upload is written milliseconds before its job: a younger one without a job may be just on its way."""
_USELESS = frozenset({JobState.READY, JobState.CANCELLED})


@dataclass(frozen=True, slots=True)
class StoredUpload:
    """An upload in the store: its name, `tenant/job`, and its age."""

    name: str
    age_s: float


@dataclass(frozen=True, slots=True)
class Found:
    """What was found and repaired."""

    uploads_without_job: int = 0
    uploads_of_ended_jobs: int = 0
    stale_drafts: int = 0
    jobs_without_entry: int = 0


class Uploads(Protocol):
    """The store of uploads, as far as it must be swept. Raises `Unavailable` when it cannot be reached."""

    def stored(self, page: int) -> AsyncGenerator[Sequence[StoredUpload], None]:
        """All uploads, so many at once."""
        ...

    async def remove(self, name: str) -> None:
        """Remove one; one that is not there is fine."""
        ...

    async def sweep_drafts(self, older_than_s: float) -> int:
        """Remove drafts of uploads that broke off; return how many."""
        ...


class Ledger(Protocol):
    """The jobs, as far as they must be compared. Raises `Unavailable` when it cannot be reached."""

    async def states(self, names: Sequence[str]) -> Sequence[JobState | None]:
        """The state of each job, named `tenant/job`; None for one that does not exist."""
        ...

    async def requeue_stranded(self) -> int:
        """Give each unfinished job that nothing leads to a queue entry again; return how many there were."""
        ...


class Reconciler:
    """Sweeps and repairs.

    Args:
        uploads: The store of uploads.
        ledger: The jobs and their queue.
        every_s: Seconds between two sweeps.
        draft_age_s: How old a draft must be to be a leftover: longer than any upload may take.
    """

    def __init__(
        self,
        uploads: Uploads,
        ledger: Ledger,
        every_s: float,
        draft_age_s: float,
        *,
        young_s: float = YOUNG_S,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._uploads = uploads
        self._ledger = ledger
        self._every_s = every_s
        self._draft_age_s = draft_age_s
        self._young_s = young_s
        self._pause = pause

    async def run(self) -> None:
        """Sweep at once, then on schedule, until cancelled."""
        while True:
            try:
                found = await self.sweep()
                log.info("reconciled", **asdict(found))
            except RagError as error:
                log.warning("not_reconciled", reason=error.reason, cause=repr(error.__cause__))
            await self._pause(self._every_s)

    async def sweep(self) -> Found:
        """Compare and repair once."""
        orphans = ended = 0
        async with aclosing(self._uploads.stored(100)) as pages:
            async for page in pages:
                states = await self._ledger.states([upload.name for upload in page])
                for upload, state in zip(page, states, strict=True):
                    orphan = state is None and upload.age_s > self._young_s
                    if orphan or state in _USELESS:
                        await self._uploads.remove(upload.name)
                    orphans += orphan
                    ended += state in _USELESS
        drafts = await self._uploads.sweep_drafts(self._draft_age_s)
        found = Found(orphans, ended, drafts, await self._ledger.requeue_stranded())
        for kind, count in asdict(found).items():
            RECONCILED.labels(kind).inc(count)
        return found
