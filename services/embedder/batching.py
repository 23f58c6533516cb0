"""Dynamic batching: callers that ask at the same time share runs of the model, and the same text is one piece for all.

Nothing waits while the model is idle: the first text starts a run at once, and whatever arrives during that run is
gathered for the next. Patience is for the moment after a run that several callers shared: they answer their own
clients and come back within a few milliseconds, and waiting for them makes one run out of two. A caller that is alone
never waits.

A run belongs to nobody: when its last caller leaves it goes on to its end, and what it computed is kept.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence

from rag.ids import new_id
from rag.runtime.context import CallContext, bound, remaining_s
from rag.runtime.errors import InvalidInput, Overloaded, Unavailable
from rag.runtime.tasks import cancel_all
from services.embedder import metrics
from services.embedder.caching import Document
from services.embedder.finishing import Finishing, Keep
from services.embedder.model import Bounds, Encoded, Model, Piece
from services.embedder.queueing import FairQueue, Flow, Waiting
from services.embedder.tickets import Ticket

_MAX_RETRY_AFTER_S = 30.0
_MIN_RETRY_AFTER_S = 0.1
_CLOSING_S = 1.0

Run = Sequence[Waiting]


class Batcher:
    """Runs a model for many callers, in runs bounded by tokens.

    Args:
        model: What is run.
        bounds: How much a run takes and how many go on at once.
        keep: Keeps what a run computed, before its callers hear of it.
        queue_tokens: How much may wait; a caller that comes when it is full is refused.
        patience_s: How long a text waits for company after a shared run, in seconds.
        linger_s: How long a run may go on after its last caller left, in seconds: an endpoint that hangs must not hold
            the places of those who still wait.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        model: Model,
        bounds: Bounds,
        keep: Keep,
        *,
        queue_tokens: int,
        patience_s: float,
        linger_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._bounds = bounds
        self._finishing = Finishing(keep)
        self._queue_tokens = queue_tokens
        self._patience_s = patience_s
        self._linger_s = linger_s
        self._clock = clock
        self._queue = FairQueue(bounds)
        self._running: dict[asyncio.Task[None], Run] = {}
        self._company_until = float("-inf")
        self._busy_since = 0.0
        self._tokens_per_s = 1_000.0
        self._wake: asyncio.Handle | None = None
        self._closed = False

    def submit(
        self, pieces: Mapping[str, Piece], document: Document | None = None, *, begun: bool = False, tenant: str = ""
    ) -> Ticket:
        """Queue the pieces, one or more, and return at once. One that is queued or running already is joined.

        Args:
            pieces: What to run, by the key of the text.
            document: Whose texts they are; None for queries, which come first.
            begun: The caller has a part of its answer already and is not refused half-way. The queue stays bounded:
                a call has two windows of texts in it at most, and calls are counted at the door.
            tenant: Who asks; tenants share the model.

        Raises:
            Overloaded: EMBEDDER_BUSY when the queue is full, and the tenant has its fair part of it or more.
            Unavailable: EMBEDDER_STOPPING.
            DeadlineExceeded: when the caller has no time left.
        """
        if self._closed:
            raise _stopping()
        if not begun:
            self._refuse_beyond_limit(pieces, tenant)
        ticket = Ticket(len(pieces), self._left, time.monotonic() + remaining_s(math.inf))
        flow, now = Flow(tenant, document is not None), self._clock()
        turn = self._queue.begin(flow)
        for index, (key, piece) in enumerate(pieces.items()):
            turn += piece.tokens
            item = self._finishing.on_the_way.get(key)
            if item is None:
                item = self._finishing.on_the_way[key] = Waiting(key, piece, flow, turn, now)
                self._queue.add(item)
            else:
                ticket.joined += 1
                self._queue.hasten(item, flow, turn)
            item.join(ticket, index, document)
        self._queue.end(flow, turn)
        self._schedule()
        return ticket

    async def close(self) -> None:
        """Stop: whoever still waits hears Unavailable; runs get a moment to end, so that their vectors are kept."""
        self._closed = True
        if self._wake is not None:
            self._wake.cancel()
        for item in (*self._queue.take_all(), *(item for run in self._running.values() for item in run)):
            for ticket, _ in item.waiters:
                ticket.fail(_stopping())
        if self._running:
            await asyncio.wait(self._running, timeout=min(self._linger_s, _CLOSING_S))
        await cancel_all(list(self._running))
        await self._finishing.close()

    def _refuse_beyond_limit(self, pieces: Mapping[str, Piece], tenant: str) -> None:
        new = sum(piece.tokens for key, piece in pieces.items() if key not in self._finishing.on_the_way)
        queued = self._queue.tokens
        # Twice the limit is the end for everybody.
        most = self._queue_tokens if self._queue.share(tenant, new) >= 1 else 2 * self._queue_tokens
        if queued and new and queued + new > most:
            wait_s = min(_MAX_RETRY_AFTER_S, max(_MIN_RETRY_AFTER_S, queued / self._tokens_per_s))
            raise Overloaded("The embedder has too much to do; try again later.", "EMBEDDER_BUSY", wait_s)

    def _schedule(self, delay_s: float = 0.0) -> None:
        # Through the loop even without delay: all that is submitted in the same tick shares the first run.
        if self._wake is not None:
            self._wake.cancel()
        self._wake = asyncio.get_running_loop().call_later(delay_s, self._start_runs)

    def _start_runs(self) -> None:
        while self._queue and len(self._running) < self._bounds.parallel and not self._closed:
            delay_s = self._patience_left_s()
            if delay_s > 0:
                self._schedule(delay_s)
                break
            run = self._queue.take_run()
            self._count_busy()
            task = asyncio.get_running_loop().create_task(self._run(run))
            self._running[task] = run
            task.add_done_callback(self._ended)
        metrics.QUEUED_TEXTS.set(len(self._queue))

    def _patience_left_s(self) -> float:
        if self._queue.tokens >= self._bounds.tokens:
            return 0.0
        return min(self._queue.oldest() + self._patience_s, self._company_until) - self._clock()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._count_busy()
        run = self._running.pop(task)
        if task.cancelled():
            self._finishing.fail(run, _stopping())
        if len({ticket for item in run for ticket, _ in item.waiters}) > 1:
            self._company_until = self._clock() + self._patience_s
        if not self._closed:
            self._schedule()

    def _count_busy(self) -> None:
        now = self._clock()
        if self._running:
            metrics.BUSY_SECONDS.inc(max(0.0, now - self._busy_since))
        self._busy_since = now

    def _left(self) -> None:
        self._drop_unwanted()
        for task, run in self._running.items():
            if not _wanted(run):
                asyncio.get_running_loop().call_later(self._linger_s, self._abandon, task)

    def _drop_unwanted(self) -> None:
        self._finishing.forget(self._queue.drop_unwanted())
        metrics.QUEUED_TEXTS.set(len(self._queue))

    def _abandon(self, task: asyncio.Task[None]) -> None:
        run = self._running.get(task, ())
        if run and not _wanted(run):
            self._finishing.forget(run)  # nobody may join what is about to end
            task.cancel()

    async def _run(self, run: Run) -> None:
        until = max(ticket.until for item in run for ticket, _ in item.waiters)
        # Its own context: the task began in that of whichever caller came last, who has no say over the others.
        with bound(CallContext(new_id("run"), "embedder", None if math.isinf(until) else until)):
            await self._encode(run)

    async def _encode(self, items: Run) -> None:
        started = self._clock()
        try:
            encoded = await self._model.encode([item.piece for item in items])
        except InvalidInput as error:
            if len(items) == 1:
                self._finishing.fail(items, error)
            else:
                await self._encode_halves(items)
        except Exception as error:  # noqa: BLE001 - goes to every caller of the run, and each raises it
            self._finishing.fail(items, error)
            self._drop_unwanted()
        else:
            self._measure(encoded, self._clock() - started)
            self._finishing.finish(items, encoded)

    async def _encode_halves(self, items: Run) -> None:
        # Too much at once, or one bad text: either way the halves tell, and no good text fails for a bad one.
        metrics.RUNS_SPLIT.inc()
        middle = len(items) // 2
        await self._encode(items[:middle])
        await self._encode(items[middle:])

    def _measure(self, encoded: Encoded, seconds: float) -> None:
        metrics.RUN_SECONDS.observe(seconds)
        metrics.RUN_TOKENS.observe(encoded.tokens)
        if seconds > 0:
            self._tokens_per_s += 0.2 * (encoded.tokens / seconds - self._tokens_per_s)


def _wanted(run: Run) -> bool:
    return any(item.wanted for item in run)


def _stopping() -> Unavailable:
    return Unavailable("The embedder is stopping.", "EMBEDDER_STOPPING")
