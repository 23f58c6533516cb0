"""What a caller of the batcher holds while the model works."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import numpy as np

from rag.vectors import Vectors


class Ticket:
    """The vectors of one submission, on their way.

    Args:
        pieces: How many were submitted.
        on_leave: Called when the caller gives up before the end.
        until: When the caller stops waiting, on the clock of `time.monotonic`, in seconds.
    """

    def __init__(self, pieces: int, on_leave: Callable[[], None], until: float = math.inf) -> None:
        self.until = until
        self.joined = 0
        """How many pieces another ticket had asked for before: they are computed once, for both."""
        self._future: asyncio.Future[tuple[Vectors, int]] = asyncio.get_running_loop().create_future()
        self._rows: list[Vectors] = [np.empty(0, dtype=np.float32)] * pieces
        self._missing = pieces
        self._tokens = 0
        # Awaiting callers that are cancelled cancel the future themselves; all ways out meet here.
        self._future.add_done_callback(lambda future: on_leave() if future.cancelled() else None)

    async def result(self) -> tuple[Vectors, int]:
        """Return the vectors, shape (pieces, dimension), and the tokens they cost.

        Raises:
            RagError: what the model raised in a run that held a piece of this ticket.
        """
        return await self._future

    @property
    def closed(self) -> bool:
        """Whether nobody waits any more: all is there, the model failed, or the caller left."""
        return self._future.done()

    def leave(self) -> None:
        """Give up: what has not run yet never will. Does no harm when all is done."""
        if not self._future.cancel() and not self._future.cancelled():
            self._future.exception()  # marks it as heard: nobody is left to raise it, and asyncio would log it

    def deliver(self, index: int, vector: Vectors, tokens: int) -> None:
        """Take in the vector of one piece, and what it cost."""
        if self.closed:
            return
        self._rows[index] = vector
        self._tokens += tokens
        self._missing -= 1
        if not self._missing:
            self._future.set_result((np.stack(self._rows), self._tokens))

    def fail(self, error: Exception) -> None:
        """End with an error."""
        if not self.closed:
            self._future.set_exception(error)
