"""Tells a server of the operator's when a job ends: signed, and again and again until it is heard.

The signature follows the Standard Webhooks specification (webhook-id, webhook-timestamp, webhook-signature), so receivers in
any language verify it with a ready library. An event is sent at least once; `webhook-id` is the same each time.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from rag.runtime.backoff import full_jitter
from rag.runtime.errors import NotFound, RagError
from rag.runtime.logs import get_logger
from services.ingestor.draining import drain
from services.ingestor.jobs import Job, JobStore
from services.ingestor.metrics import WEBHOOKS

log = get_logger(__name__)

MOST_TRIES = 34
"""With random pauses in windows that double up to two hours: about a day."""
_FIRST_PAUSE_S = 5.0
_MOST_PAUSE_S = 7_200.0


@dataclass(frozen=True, slots=True)
class Ended:
    """A job's end that is still to be told. `id` names this end: a job that is retried may have several."""

    id: str
    tenant: str
    job_id: str
    tries: int


class EndedJobs(Protocol):
    """The ends that are still to be told; they survive a restart. Raises `Unavailable` when it cannot be reached."""

    async def due(self) -> Ended | None:
        """The next one, held for a minute against other processes; None when none is due."""
        ...

    async def later(self, ended: Ended, pause_s: float) -> None:
        """Make it due again after a pause."""
        ...

    async def done(self, ended: Ended) -> None:
        """Forget it."""
        ...


class Receiver(Protocol):
    """The operator's server."""

    async def post(self, body: bytes, headers: dict[str, str]) -> int:
        """Send, and return the HTTP status. Raises `Unavailable` when there is no answer in time."""
        ...


class Webhooks:
    """Sends what is due, one at a time.

    Args:
        ended: What is to be told.
        jobs: The jobs as they are.
        receiver: Who is told.
        secret: The key of the signature.
    """

    def __init__(
        self,
        ended: EndedJobs,
        jobs: JobStore,
        receiver: Receiver,
        secret: bytes,
        *,
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random_unit: Callable[[], float] = random.random,
    ) -> None:
        self._ended = ended
        self._jobs = jobs
        self._receiver = receiver
        self._secret = secret
        self._clock = clock
        self._pause = pause
        self._random_unit = random_unit

    async def run(self, idle_s: float = 1.0) -> None:
        """Send until cancelled."""
        await drain(self._next, "webhooks_wait", self._pause, idle_s)

    async def _next(self) -> bool:
        ended = await self._ended.due()
        if ended is None:
            return False
        try:
            job = await self._jobs.get(ended.tenant, ended.job_id)
        except NotFound:  # erased with its document: there is nothing left to tell
            await self._ended.done(ended)
            return True
        await self._tell(ended, job)
        return True

    async def _tell(self, ended: Ended, job: Job) -> None:
        outcome = await self._outcome(ended, job)
        WEBHOOKS.labels(outcome).inc()
        if outcome != "failed":
            await self._ended.done(ended)
            return
        pause_s = full_jitter(ended.tries, _FIRST_PAUSE_S, _MOST_PAUSE_S, self._random_unit)
        await self._ended.later(ended, max(1.0, pause_s))

    async def _outcome(self, ended: Ended, job: Job) -> str:
        try:
            body = payload(ended, job)
            status = await self._receiver.post(body, self._headers(ended, body))
        except RagError as error:
            status, cause = 0, error.reason
        else:
            cause = str(status)
        if 200 <= status < 300:
            return "delivered"
        log.warning("webhook_not_heard", job_id=ended.job_id, tries=ended.tries, cause=cause)
        # Gone says that nobody will ever listen here.
        return "given_up" if status == 410 or ended.tries >= MOST_TRIES else "failed"

    def _headers(self, ended: Ended, body: bytes) -> dict[str, str]:
        timestamp = str(int(self._clock()))
        return {
            "content-type": "application/json",
            "webhook-id": ended.id,
            "webhook-timestamp": timestamp,
            "webhook-signature": signature(self._secret, ended.id, timestamp, body),
        }


def secret_of(text: str) -> bytes:
    """The key in a secret: what follows `whsec_` is base64, as ready libraries have it; any other text is taken as it is.

    Raises ValueError for bad base64.
    """
    prefix, _, encoded = text.partition("whsec_")
    return base64.b64decode(encoded, validate=True) if encoded and not prefix else text.encode()


def signature(secret: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    """The signature of one message: `v1,` and the HMAC-SHA256 of id, timestamp and body, in base64."""
    digest = hmac.new(secret, b".".join((message_id.encode(), timestamp.encode(), body)), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def payload(ended: Ended, job: Job) -> bytes:
    """What the receiver reads: the kind of end, and the job."""
    finished = datetime.fromtimestamp(job.finished_at or job.updated_at, UTC).isoformat()
    data = {
        "tenant": ended.tenant,
        "job_id": job.id,
        "document_id": job.document_id,
        "document_version": job.document_version,
        "state": job.state.value,
        "reason": job.error.reason if job.error else "",
        "message": job.error.message if job.error else "",
        "passages": job.progress.passages_indexed,
        "attempts": job.attempts,
    }
    return json.dumps({"type": f"job.{job.state.value}", "timestamp": finished, "data": data}).encode()
