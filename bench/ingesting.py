"""Files through the client: each uploaded, its job followed to the end, and what became of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag.client import RagClient
from rag.runtime.errors import RagError
from rag.v1 import ingestor_pb2 as pb

UPLOADS_AT_ONCE = 4
JOBS_AT_ONCE = 24
"""More than the workers take, so that they never wait for an upload."""
_TIMEOUT_S = 600.0
DEAD, CANCELLED, UNFINISHED = "DEAD", "CANCELLED", "UNFINISHED"


@dataclass(frozen=True, slots=True)
class Ended:
    """One file's end. `outcome` is `ready`, `unchanged`, the reason of a failure, `DEAD: reason`, CANCELLED or UNFINISHED."""

    file: Path
    outcome: str
    seconds: float
    job: pb.Job

    def row(self) -> dict[str, Any]:
        """The file as a row of a table."""
        progress = self.job.progress
        return {
            "file": "/".join(self.file.parts[-2:]),
            "outcome": self.outcome,
            "seconds": self.seconds,
            "pages": progress.pages_done,
            "passages": progress.passages_indexed,
            "computed": progress.vectors_computed,
            "cached": progress.vectors_cached,
            "attempts": self.job.attempts,
            "message": self.job.error.message,
        }


async def ingest_all(address: str, files: Sequence[Path]) -> list[Ended]:
    """Ingest the files, some at once."""
    uploads, jobs = asyncio.Semaphore(UPLOADS_AT_ONCE), asyncio.Semaphore(JOBS_AT_ONCE)

    async def one(rag: RagClient, path: Path) -> Ended:
        async with jobs:
            return await ingest(rag, path, uploads)

    async with RagClient(address, timeout_s=_TIMEOUT_S) as rag:
        return list(await asyncio.gather(*(one(rag, path) for path in files)))


async def ingest(rag: RagClient, path: Path, uploads: asyncio.Semaphore) -> Ended:
    """Ingest one file and follow its job to the end."""
    began = time.perf_counter()
    job = pb.Job()
    try:
        async with uploads:
            job = await rag.ingest(path)
        async with aclosing(rag.watch(job.id)) as events:
            async for event in events:
                job = event.job
        outcome = _outcome(job)
    except RagError as error:
        outcome = error.reason
    return Ended(path, outcome, time.perf_counter() - began, job)


def _outcome(job: pb.Job) -> str:
    if job.state == pb.JOB_STATE_READY:
        return "unchanged" if job.unchanged else "ready"
    if job.state == pb.JOB_STATE_DEAD:
        return f"{DEAD}: {job.error.reason}"
    if job.state == pb.JOB_STATE_CANCELLED:
        return CANCELLED
    return job.error.reason if job.state == pb.JOB_STATE_FAILED else UNFINISHED
