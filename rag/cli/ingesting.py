"""Documents on their way in: a few at once, each followed from its upload to the end of its job."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Protocol

from rag.client import RagClient
from rag.runtime.errors import DeadlineExceeded, Overloaded, RagError, Unavailable
from rag.runtime.tasks import together
from rag.v1 import ingestor_pb2 as pb

READY, UNCHANGED, ACCEPTED, REMOVED = "ready", "unchanged", "accepted", "removed"
FAILED, NOT_SENT, LEFT_OUT = "failed", "not sent", "left out"
STATES = {
    pb.JOB_STATE_QUEUED: "queued",
    pb.JOB_STATE_RUNNING: "running",
    pb.JOB_STATE_READY: READY,
    pb.JOB_STATE_FAILED: FAILED,
    pb.JOB_STATE_CANCELLED: "cancelled",
    pb.JOB_STATE_DEAD: "dead",
}
_GOOD = {READY, UNCHANGED, ACCEPTED, REMOVED, LEFT_OUT}
# The server's fault and not the document's: the next document would fare no better.
_AWAY = (Unavailable, Overloaded, DeadlineExceeded)


@dataclass(frozen=True, slots=True)
class Item:
    """A document to send: what it is called here, and how it is sent."""

    name: str
    send: Callable[[RagClient], Awaitable[pb.Job]]
    action: str = ""
    """What sending it means, such as `new`; empty for nothing special."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a document: `reason` and `message` say why it is not good."""

    item: Item
    state: str
    job: pb.Job = field(default_factory=pb.Job)
    seconds: float = 0.0
    reason: str = ""
    message: str = ""

    @property
    def is_good(self) -> bool:
        """Whether there is nothing to do about it."""
        return self.state in _GOOD and not self.reason


class View(Protocol):
    """Shows people or programs how it goes. Every item that began also ends, unless the run is broken off."""

    def began(self, item: Item) -> None:
        """A document is being sent."""
        ...

    def moved(self, item: Item, job: pb.Job) -> None:
        """Its job went on."""
        ...

    def ended(self, outcome: Outcome) -> None:
        """It is through; also called for items that never began."""
        ...


class Ingestion:
    """One run over many documents."""

    def __init__(
        self,
        rag: RagClient,
        view: View,
        *,
        parallel: int,
        detach: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.outcomes: list[Outcome] = []
        self._under_way: set[str] = set()
        self._total = 0
        self._rag = rag
        self._view = view
        self._parallel = parallel
        self._detach = detach
        self._clock = clock
        self._away: RagError | None = None

    @property
    def accepted(self) -> int:
        """How many jobs go on whatever happens here."""
        return len(self._under_way) + sum(outcome.state == ACCEPTED for outcome in self.outcomes)

    @property
    def unsent(self) -> int:
        """How many documents are not on the server, and did not fail either."""
        return self._total - len(self.outcomes) - len(self._under_way)

    async def run(self, items: Sequence[Item]) -> None:
        """Send all items, `parallel` at once; when the server goes away for good, the rest is not sent."""
        self._total = len(items)
        waiting = iter(items)
        await together(*(self._work(waiting) for _ in range(min(self._parallel, len(items)))))

    async def _work(self, waiting: Iterator[Item]) -> None:
        for item in waiting:
            if self._away:
                outcome = Outcome(item, NOT_SENT, reason=self._away.reason, message=self._away.message)
            else:
                outcome = await self._one(item)
            self._under_way.discard(outcome.job.id)
            self.outcomes.append(outcome)
            self._view.ended(outcome)

    async def _one(self, item: Item) -> Outcome:
        began, job = self._clock(), pb.Job()
        self._view.began(item)
        try:
            job.CopyFrom(await item.send(self._rag))
            self._under_way.add(job.id)
            self._view.moved(item, job)
            await self._follow(item, job)
        except RagError as error:
            self._away = error if isinstance(error, _AWAY) else self._away
            state = ACCEPTED if job.id else FAILED
            return Outcome(item, state, job, self._clock() - began, error.reason, error.message)
        except OSError as error:
            message = f"The file cannot be read: {error.strerror or 'unknown reason'}."
            return Outcome(item, FAILED, job, self._clock() - began, "UNREADABLE", message)
        return _outcome(item, job, self._clock() - began)

    async def _follow(self, item: Item, job: pb.Job) -> None:
        if self._detach or job.state not in {pb.JOB_STATE_QUEUED, pb.JOB_STATE_RUNNING}:
            return
        async with aclosing(self._rag.watch(job.id)) as events:
            async for event in events:
                job.CopyFrom(event.job)
                self._view.moved(item, job)


def _outcome(item: Item, job: pb.Job, seconds: float) -> Outcome:
    state = STATES.get(job.state, FAILED)
    if state in {"queued", "running"}:
        state = ACCEPTED
    elif job.unchanged:
        state = UNCHANGED
    return Outcome(item, state, job, seconds, job.error.reason, job.error.message)
