"""What becomes of a run: its vectors are kept, then handed out; or its error is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from rag.runtime.errors import Internal, RagError
from rag.runtime.logs import get_logger
from services.embedder.caching import Computed
from services.embedder.model import Encoded
from services.embedder.queueing import Waiting

Keep = Callable[[Sequence[Computed]], Awaitable[None]]
"""Keeps vectors; in this process before it first waits for anything. Must not raise."""

log = get_logger(__name__)


class Finishing:
    """Ends what is on the way.

    A piece stays joinable until its vector is kept: whoever asks for the text later finds it there, so nothing is
    computed twice. The model does not wait for the keeping.
    """

    def __init__(self, keep: Keep) -> None:
        self.on_the_way: dict[str, Waiting] = {}
        """All pieces that are queued, running or being kept, by key."""
        self._keep = keep
        self._tasks: set[asyncio.Task[None]] = set()

    def finish(self, items: Sequence[Waiting], encoded: Encoded) -> None:
        """Keep the vectors and hand them out, in the background."""
        task = asyncio.get_running_loop().create_task(self._finish(items, encoded))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def forget(self, items: Sequence[Waiting]) -> None:
        """Let nobody join these any more."""
        for item in items:
            if self.on_the_way.get(item.key) is item:
                del self.on_the_way[item.key]

    def fail(self, items: Sequence[Waiting], error: Exception) -> None:
        """Tell everybody who waits for these."""
        error = _own(error)
        self.forget(items)
        for item in items:
            for ticket, _ in item.waiters:
                ticket.fail(error)

    async def close(self) -> None:
        """Wait until all that was computed is kept."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _finish(self, items: Sequence[Waiting], encoded: Encoded) -> None:
        try:
            await self._keep(
                [
                    Computed(item.key, vector, tuple(item.asked_by))
                    for item, vector in zip(items, encoded.vectors, strict=True)
                ]
            )
            self._deliver(items, encoded)
        except Exception as error:  # noqa: BLE001 - goes to every caller of the run, and each raises it
            self.fail(items, error)

    def _deliver(self, items: Sequence[Waiting], encoded: Encoded) -> None:
        expected = sum(item.piece.tokens for item in items)
        before = counted = 0
        self.forget(items)
        for item, vector in zip(items, encoded.vectors, strict=True):
            # The model counts the run as a whole; each piece bears its part, and the parts add up to the whole.
            before += item.piece.tokens
            share = encoded.tokens * before // expected - counted
            counted += share
            for ticket, index in item.waiters:
                paid, share = (0, share) if ticket.closed else (share, 0)
                ticket.deliver(index, vector, paid)


def _own(error: Exception) -> RagError:
    if isinstance(error, RagError):
        return error
    log.error("model_failed", exc_info=error)
    failed = Internal("The embedding model failed.", "MODEL_FAILED")
    failed.__cause__ = error
    return failed
