"""Dynamic batching: callers that ask at the same time share runs of the model.

Nothing waits while the model is idle: the first text starts a run at once, and whatever arrives during that run is
gathered for the next. Patience is for the moment after a run that several callers shared: they answer their own
clients and come back within a few milliseconds, and waiting for them makes one run out of two. A caller that is alone
never waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from rag.runtime.errors import Internal, InvalidInput, Overloaded, RagError, Unavailable
from rag.runtime.logs import get_logger
from services.embedder import metrics
from services.embedder.model import Bounds, Encoded, Model, Piece
from services.embedder.queueing import FairQueue, Waiting
from services.embedder.tickets import Ticket

_MAX_RETRY_AFTER_S = 30.0
_MIN_RETRY_AFTER_S = 0.1

log = get_logger(__name__)

Run = Sequence[Waiting]


class Batcher:
    """Runs a model for many callers, in runs bounded by tokens.

    Args:
        model: What is run.
        bounds: How much a run takes and how many go on at once.
        queue_tokens: How much may wait; a caller that comes when it is full is refused.
        patience_s: How long a text waits for company after a shared run, in seconds.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        model: Model,
        bounds: Bounds,
        queue_tokens: int,
        patience_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._bounds = bounds
        self._queue_tokens = queue_tokens
        self._patience_s = patience_s
        self._clock = clock
        self._queue = FairQueue(bounds)
        self._running: dict[asyncio.Task[None], Run] = {}
        self._company_until = float("-inf")
        self._tokens_per_s = 1_000.0
        self._wake: asyncio.Handle | None = None
        self._closed = False

    def submit(self, pieces: Sequence[Piece], *, begun: bool = False) -> Ticket:
        """Queue the pieces, one or more, and return at once.

        Args:
            pieces: What to run.
            begun: The caller has a part of its answer already and is not refused half-way. The queue stays bounded:
                a call has two windows of texts in it at most, and calls are counted at the door.

        Raises:
            Overloaded: EMBEDDER_BUSY when the queue is full.
            Unavailable: EMBEDDER_STOPPING.
        """
        if self._closed:
            raise _stopping()
        queued = self._queue.tokens
        if queued and not begun and queued + sum(piece.tokens for piece in pieces) > self._queue_tokens:
            wait_s = min(_MAX_RETRY_AFTER_S, max(_MIN_RETRY_AFTER_S, queued / self._tokens_per_s))
            raise Overloaded("The embedder has too much to do; try again later.", "EMBEDDER_BUSY", wait_s)
        ticket = Ticket(len(pieces), self._drop_closed)
        self._queue.add(pieces, ticket, self._clock())
        self._schedule()
        return ticket

    async def close(self) -> None:
        """Stop: runs are cancelled, whoever still waits hears Unavailable."""
        self._closed = True
        for ticket in self._queue.tickets().union(*map(_by_ticket, self._running.values())):
            ticket.fail(_stopping())
        self._drop_closed()
        await asyncio.gather(*self._running, return_exceptions=True)
        if self._wake is not None:
            self._wake.cancel()

    def _schedule(self, delay_s: float = 0.0) -> None:
        # Through the loop even without delay: all that is submitted in the same tick shares the first run.
        if self._wake is not None:
            self._wake.cancel()
        self._wake = asyncio.get_running_loop().call_later(delay_s, self._start_runs)

    def _start_runs(self) -> None:
        while self._queue and len(self._running) < self._bounds.parallel:
            delay_s = self._patience_left_s()
            if delay_s > 0:
                self._schedule(delay_s)
                break
            run = self._queue.take_run()
            task = asyncio.get_running_loop().create_task(self._run(run))
            self._running[task] = run
            task.add_done_callback(self._ended)
        metrics.QUEUED_TEXTS.set(len(self._queue))

    def _patience_left_s(self) -> float:
        if self._queue.tokens >= self._bounds.tokens:
            return 0.0
        return min(self._queue.oldest() + self._patience_s, self._company_until) - self._clock()

    def _ended(self, task: asyncio.Task[None]) -> None:
        run = self._running.pop(task)
        if len(_by_ticket(run)) > 1:
            self._company_until = self._clock() + self._patience_s
        self._schedule()

    def _drop_closed(self) -> None:
        self._queue.drop_closed()
        metrics.QUEUED_TEXTS.set(len(self._queue))
        for task, run in self._running.items():
            if all(item.ticket.closed for item in run):
                task.cancel()

    async def _run(self, run: Run) -> None:
        tickets = _by_ticket(run)
        try:
            await self._encode(run)
        except InvalidInput as error:
            # One caller's bad text must not fail the others of the run: each is tried alone.
            for ticket, items in tickets.items():
                if len(tickets) > 1:
                    await self._encode_alone(ticket, items)
                else:
                    ticket.fail(error)
        except Exception as error:  # noqa: BLE001 - goes to every caller of the run, and each raises it
            _fail(tickets, error)

    async def _encode_alone(self, ticket: Ticket, items: Run) -> None:
        try:
            await self._encode(items)
        except Exception as error:  # noqa: BLE001 - goes to the caller, who raises it
            _fail([ticket], error)

    async def _encode(self, items: Run) -> None:
        started = self._clock()
        encoded = await self._model.encode([item.piece for item in items])
        self._measure(encoded, self._clock() - started)
        expected = sum(item.piece.tokens for item in items)
        before = counted = 0
        for item, vector in zip(items, encoded.vectors, strict=True):
            # The model counts the run as a whole; each piece bears its part, and the parts add up to the whole.
            before += item.piece.tokens
            share = encoded.tokens * before // expected - counted
            counted += share
            item.ticket.deliver(item.index, vector, share)

    def _measure(self, encoded: Encoded, seconds: float) -> None:
        metrics.RUN_SECONDS.observe(seconds)
        metrics.RUN_TOKENS.observe(encoded.tokens)
        if seconds > 0:
            self._tokens_per_s += 0.2 * (encoded.tokens / seconds - self._tokens_per_s)


def _by_ticket(run: Run) -> Mapping[Ticket, Run]:
    found: dict[Ticket, list[Waiting]] = {}
    for item in run:
        found.setdefault(item.ticket, []).append(item)
    return found


def _fail(tickets: Mapping[Ticket, Run] | Sequence[Ticket], error: Exception) -> None:
    if not isinstance(error, RagError):
        log.error("model_failed", exc_info=error)
        failed = Internal("The embedding model failed.", "MODEL_FAILED")
        failed.__cause__ = error
        error = failed
    for ticket in tickets:
        ticket.fail(error)


def _stopping() -> Unavailable:
    return Unavailable("The embedder is stopping.", "EMBEDDER_STOPPING")
