"""The gate: what every call of an outsider passes on its way to a service, whether it came by REST or by gRPC."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from rag.runtime import context
from rag.runtime.access import Identity, check_scope, required_scope
from rag.runtime.errors import DeadlineExceeded
from rag.runtime.gates import Pass
from rag.runtime.logs import get_logger
from services.gateway.feedback.answered import AnsweredNotes
from services.gateway.limits.ledger import NOTHING
from services.gateway.limits.limiter import Admitted, Limiter
from services.gateway.messages.passing import kind_of
from services.gateway.watching import Watch, watch_of

log = get_logger(__name__)

_PATIENCE_S = 0.25
_LATE_S = 0.1
"""A call that ends with no more than this left has been ended by its deadline."""


class Gate:
    """Lets a call through when its caller may make it, and may make it now.

    What a call took is booked after its end, in the background: no answer waits for that. Only the end of a whole answer waits a
    moment until the answer is noted: whoever has read it may say at once what it was worth.

    Args:
        limiter: The limits of tenants.
        notes: Where answers are noted that were given.
    """

    def __init__(self, limiter: Limiter, notes: AnsweredNotes) -> None:
        self._limiter = limiter
        self._notes = notes
        self._booking: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def enter(self, method: str) -> AsyncIterator[Pass]:
        """Let a call of the current context through for the length of a block.

        Raises:
            PermissionDenied: SCOPE_MISSING or INTERNAL_METHOD.
            Overloaded: with one of the reasons of `limits.ledger.Refusal`.
            TooLarge: UPLOAD_TOO_LARGE, in the middle of an upload.
        """
        call = context.current()
        service, _, name = method.strip("/").partition("/")
        check_scope(Identity(call.tenant, call.scopes, call.subject), required_scope(service, name))
        kind = kind_of(method)
        admitted = await self._limiter.take(call.tenant, kind)
        watch = watch_of(kind, admitted)
        is_whole = is_left = False
        try:
            yield watch
            is_whole = True
        except (asyncio.CancelledError, GeneratorExit):
            is_left = True
            # The request that was refused has ended the call from inside, which looks like a cancel.
            if watch.refused and not _is_cancelled():
                raise watch.refused from None
            raise
        finally:
            noting = self._end(admitted, watch, is_left=is_left or _is_over())
            if is_whole and noting:
                await asyncio.wait({noting}, timeout=_PATIENCE_S)

    async def close(self) -> None:
        """Wait until all that ended is booked."""
        while self._booking:
            await asyncio.wait(self._booking)

    def _end(self, admitted: Admitted, watch: Watch, *, is_left: bool) -> asyncio.Task[None] | None:
        """Book what a call took; return the task that notes its answer, if there is one."""
        # Whoever leaves an answer before its end has had a model at work all the same.
        spent, unbooked = watch.spent, watch.unbooked_tokens(is_left=is_left)
        if unbooked or (not watch.is_priced and admitted.limits.cost_usd_per_day is not None):
            spent = self._limiter.guessed(unbooked or spent.tokens)
        if admitted.slot or spent != NOTHING:
            self._later(self._limiter.end(admitted, spent))
        answered = watch.answered()
        return self._later(self._notes.note(admitted.tenant, answered)) if answered else None

    def _later(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._booking.add(task)
        task.add_done_callback(self._booked)
        return task

    def _booked(self, task: asyncio.Task[None]) -> None:
        self._booking.discard(task)
        if not task.cancelled() and task.exception():
            log.error("booking_failed", exc_info=task.exception())


def _is_over() -> bool:
    """Tell whether the time of the call ran out."""
    try:
        return context.remaining_s(math.inf) < _LATE_S
    except DeadlineExceeded:
        return True


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
