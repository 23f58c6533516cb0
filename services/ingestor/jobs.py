"""Jobs: the work of making one upload searchable, and what the store of jobs promises."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Protocol

from services.ingestor.blobs import blob_name

MetadataValue = str | float | bool


class JobState(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    READY = "ready"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DEAD = "dead"

    @property
    def is_final(self) -> bool:
        """Whether nothing follows, unless somebody retries the job."""
        return self not in {JobState.QUEUED, JobState.RUNNING}


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
    rate_limit_waits: int = 0
    rate_limit_wait_s: float = 0.0
    seconds_left: float | None = None
    """An estimate, None while there is none."""

    def at_least(self, other: Progress) -> Progress:
        """The greater of both, count by count: a job that is done again must not appear to go back."""
        counts = (field.name for field in fields(Progress) if field.name != "seconds_left")
        most = {name: max(getattr(self, name), getattr(other, name)) for name in counts}
        return Progress(**most, seconds_left=self.seconds_left)


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
    accepted_us: int = 0
    """When it was accepted, in microseconds since 1970 by the clock of Redis: the order in which versions replace each other."""
    password: str = field(default="", repr=False)

    @property
    def blob(self) -> str:
        """The blob's name."""
        return blob_name(self.tenant, self.job_id)


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
    unchanged: bool = False
    trouble: JobError | None = None
    """What last kept a worker from getting on: kept for the dead letter, not shown before."""

    def queued(self, now: float) -> Job:
        """The job back in the queue: what it was taken up for does not count."""
        return replace(self, state=JobState.QUEUED, attempts=max(0, self.attempts - 1), updated_at=now)

    def retried(self, now: float) -> Job:
        """The job in the queue once more, as if it had never been taken up; its error is shown until it runs."""
        return replace(self, state=JobState.QUEUED, attempts=0, trouble=None, updated_at=now, finished_at=0.0)

    def running(self, attempts: int, now: float) -> Job:
        """The job in a worker's hands for the `attempts`-th time."""
        return replace(self, state=JobState.RUNNING, error=None, attempts=attempts, updated_at=now)

    def advanced(self, progress: Progress, now: float) -> Job:
        """The job with what is done so far; counts never go back."""
        return replace(self, progress=progress.at_least(self.progress), updated_at=now)

    def troubled(self, trouble: JobError, now: float) -> Job:
        """The job while a worker waits for something that is away."""
        return replace(self, trouble=trouble, updated_at=now)

    def ready(self, version: int, now: float, *, unchanged: bool = False) -> Job:
        """The job at its good end."""
        return replace(self._ended(JobState.READY, now), document_version=version, unchanged=unchanged)

    def failed(self, error: JobError, now: float) -> Job:
        """The job of a document that cannot be indexed."""
        return replace(self._ended(JobState.FAILED, now), error=error)

    def dead(self, error: JobError, now: float) -> Job:
        """The job in the dead letter: given up, although its document may be sound."""
        return replace(self._ended(JobState.DEAD, now), error=error)

    def cancelled(self, now: float) -> Job:
        """The job that somebody called off."""
        return replace(self._ended(JobState.CANCELLED, now), error=None)

    def _ended(self, state: JobState, now: float) -> Job:
        progress = replace(self.progress, seconds_left=None)
        return replace(self, state=state, progress=progress, updated_at=now, finished_at=now)


@dataclass(frozen=True, slots=True)
class JobEvent:
    """A job as it was after its `sequence`-th change, counted from 1 without a gap."""

    sequence: int
    job: Job


@dataclass(frozen=True, slots=True)
class Lease:
    """A job in the hands of one worker. `fence` grows with every taking-up: an older one can no longer write."""

    fence: int
    attempts: int
    exhausted: bool
    upload: Upload
    job: Job
    entry: str = ""
    cancelling: bool = False
    """Somebody called the job off, and nothing is left to do but to end it."""
    superseded: bool = False
    """Content that was accepted later is searchable by now."""
    begun: bool = True
    """Whether a worker ever took it up to work on it."""


class LeaseLostError(Exception):
    """Another worker holds the job now, or it is gone: what this one does no longer counts."""


@dataclass(frozen=True, slots=True)
class Request:
    """What makes an upload idempotent: the client's id of it, and what stands for all that the client sent."""

    id: str
    fingerprint: str


class JobStore(Protocol):
    """Keeps jobs and their events. Raises `Unavailable` when it cannot be reached."""

    async def check_open(self, tenant: str, request_id: str) -> None:
        """Raise `Unavailable` when what is added now could be lost in a crash, `Overloaded` QUEUE_FULL without room.

        A request that was accepted before needs no room.
        """
        ...

    async def add(self, upload: Upload, job: Job, request: Request | None) -> Job:
        """Keep job, first event and queue entry, all or nothing; doing it twice has the effect of once.

        Returns the job; the one that is there already when the request was accepted before. Raises `AlreadyExists`
        IDEMPOTENCY_KEY_REUSED for a request of other content, and `Overloaded` QUEUE_FULL. After `Unavailable` it may
        have happened or not.
        """
        ...

    async def get(self, tenant: str, job_id: str) -> Job:
        """Return the job; `NotFound` when the tenant has none of this id."""
        ...

    async def page(self, tenant: str, size: int, after: str, state: JobState | None = None) -> tuple[list[Job], str]:
        """Up to `size` jobs, newest first, from after the position `after`, and the next position (empty at the end)."""
        ...


class JobEvents(Protocol):
    """The events of jobs, as they happen."""

    def watch(self, tenant: str, job_id: str, after_sequence: int) -> AsyncGenerator[JobEvent, None]:
        """Events after a sequence number, in order, until the job's last; `NotFound` when the tenant has no such job."""
        ...


class JobQueue(Protocol):
    """Hands out jobs, each to one worker at a time. Raises `Unavailable` when it cannot be reached.

    The jobs of one document come one after another, in the order in which they were accepted.
    """

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
