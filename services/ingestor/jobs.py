"""Jobs: the work of making one upload searchable, and what the store of jobs promises."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

MetadataValue = str | float | bool


class JobState(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    READY = "ready"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Whether nothing follows."""
        return self in {JobState.READY, JobState.FAILED}


@dataclass(frozen=True, slots=True)
class Progress:
    """Counts of what is done. `pages_total` is 0 while not known and for documents without pages."""

    pages_done: int = 0
    pages_total: int = 0
    passages: int = 0
    passages_indexed: int = 0
    vectors_cached: int = 0
    vectors_computed: int = 0
    pages_skipped: int = 0

    def at_least(self, other: Progress) -> Progress:
        """The greater of both, count by count: a job that is done again must not appear to go back."""
        return Progress(
            pages_done=max(self.pages_done, other.pages_done),
            pages_total=max(self.pages_total, other.pages_total),
            passages=max(self.passages, other.passages),
            passages_indexed=max(self.passages_indexed, other.passages_indexed),
            vectors_cached=max(self.vectors_cached, other.vectors_cached),
            vectors_computed=max(self.vectors_computed, other.vectors_computed),
            pages_skipped=max(self.pages_skipped, other.pages_skipped),
        )


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed: `reason` for programs, `message` one sentence for people."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Upload:
    """What was accepted: everything a worker needs besides the bytes, which lie in the blob `blob`."""

    tenant: str
    job_id: str
    document_id: str
    name: str
    title: str
    media_type: str
    content_hash: str
    size_bytes: int
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)

    @property
    def blob(self) -> str:
        """The blob's name. It belongs to this job alone, so removing it cannot race with an upload of the same bytes."""
        return f"{self.tenant}/{self.job_id}"


@dataclass(frozen=True, slots=True)
class Job:
    """A job as its watchers see it. Times are Unix seconds; `finished_at` is 0 before the end."""

    id: str
    document_id: str
    name: str
    size_bytes: int
    created_at: float
    updated_at: float
    state: JobState = JobState.QUEUED
    progress: Progress = field(default_factory=Progress)
    error: JobError | None = None
    attempts: int = 0
    document_version: int = 0
    finished_at: float = 0.0

    def queued(self, now: float) -> Job:
        """The job back in the queue: what it was taken up for does not count."""
        return replace(self, state=JobState.QUEUED, attempts=max(0, self.attempts - 1), updated_at=now)

    def running(self, attempts: int, now: float) -> Job:
        """The job in a worker's hands for the `attempts`-th time."""
        return replace(self, state=JobState.RUNNING, attempts=attempts, updated_at=now)

    def advanced(self, progress: Progress, now: float) -> Job:
        """The job with what is done so far; counts never go back."""
        return replace(self, progress=progress.at_least(self.progress), updated_at=now)

    def ready(self, version: int, now: float) -> Job:
        """The job at its good end."""
        return replace(self, state=JobState.READY, document_version=version, updated_at=now, finished_at=now)

    def failed(self, error: JobError, now: float) -> Job:
        """The job at its bad end."""
        return replace(self, state=JobState.FAILED, error=error, updated_at=now, finished_at=now)


@dataclass(frozen=True, slots=True)
class JobEvent:
    """A job as it was after its `sequence`-th change, counted from 1 without a gap."""

    sequence: int
    job: Job


@dataclass(frozen=True, slots=True)
class Lease:
    """A job in the hands of one worker. `fence` grows with every taking-up: an older one can no longer write."""

    entry: str
    fence: int
    attempts: int
    exhausted: bool
    upload: Upload
    job: Job


class LeaseLostError(Exception):
    """Another worker holds the job now, or it is gone: what this one does no longer counts."""


class JobStore(Protocol):
    """Keeps jobs and their events. Raises `Unavailable` when it cannot be reached."""

    async def check_durable(self) -> None:
        """Raise `Unavailable` when what is added now could be lost in a crash."""
        ...

    async def add(self, upload: Upload, job: Job) -> None:
        """Keep job, first event and queue entry, all or nothing. Doing it twice has the effect of once."""
        ...

    async def get(self, tenant: str, job_id: str) -> Job:
        """Return the job; `NotFound` when the tenant has none of this id."""
        ...

    async def page(self, tenant: str, size: int, after: str) -> tuple[list[Job], str]:
        """Up to `size` jobs, newest first, from after the position `after`, and the next position (empty at the end)."""
        ...


class JobEvents(Protocol):
    """The events of jobs, as they happen."""

    def watch(self, tenant: str, job_id: str, after_sequence: int) -> AsyncGenerator[JobEvent, None]:
        """Events after a sequence number, in order, until the job's last; `NotFound` when the tenant has no such job."""
        ...


class JobQueue(Protocol):
    """Hands out jobs, each to one worker at a time. Raises `Unavailable` when it cannot be reached."""

    async def take(self) -> Lease | None:
        """Wait a short while for a job that is new or whose worker was silent for longer than the lease."""
        ...

    async def renew(self, lease: Lease) -> None:
        """Keep the lease for one more lease time; `LeaseLostError` when it is another's."""
        ...

    async def write(self, lease: Lease, job: Job) -> None:
        """Keep the job and its next event. A final state also ends the queue entry. `LeaseLostError` as for `renew`."""
        ...

    async def release(self, lease: Lease, job: Job) -> None:
        """Put the job back in the queue at once, its taking-up not counted. `LeaseLostError` as for `renew`."""
        ...
