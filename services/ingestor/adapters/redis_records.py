"""Jobs as Redis keeps them: keys, JSON, and errors in our words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any

from rag.runtime.redis import reached
from services.ingestor.jobs import Job, JobError, JobState, Lease, Progress, Upload

QUEUE = "rag:ingest:queue"
GROUP = "ingestors"
UNFINISHED = "rag:ingest:unfinished"
"""Sorted set: `tenant/job` of every job that is not finished, by when it was accepted."""


def job_key(tenant: str, job_id: str) -> str:
    """The hash of one job: `job` and `upload` as JSON, password, accepted_us, state, sequence, fence, attempts, and more."""
    return f"rag:{tenant}:job:{job_id}"


def events_key(tenant: str, job_id: str) -> str:
    """The stream of one job's events; the ids are `<sequence>-0`."""
    return f"rag:{tenant}:job:{job_id}:events"


def jobs_key(tenant: str, state: JobState | None = None) -> str:
    """The tenant's job ids, or those in one state, scored by `accepted_us`."""
    return f"rag:{tenant}:jobs:{state.value}" if state else f"rag:{tenant}:jobs"


def made_key(tenant: str, document_id: str) -> str:
    """The ids of a document's jobs, finished ones too, scored by `accepted_us`."""
    return f"rag:{tenant}:made:{document_id}"


def request_key(tenant: str, digest: str) -> str:
    """The hash of what came of a client's request: job, fingerprint."""
    return f"rag:{tenant}:request:{digest}"


def dump(value: Job | Upload) -> str:
    """JSON of a job or an upload. What Redis gives (`accepted_us`) or must forget (`password`) has fields of its own."""
    fields = asdict(value)
    for name in ("accepted_us", "password"):
        fields.pop(name, None)
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def load_job(raw: bytes) -> Job:
    """The job in JSON that `dump` wrote."""
    fields: dict[str, Any] = json.loads(raw)
    return Job(
        **{
            **fields,
            "state": JobState(fields["state"]),
            "progress": Progress(**fields["progress"]),
            "error": _error(fields["error"]),
            "trouble": _error(fields["trouble"]),
        }
    )


def _error(fields: dict[str, str] | None) -> JobError | None:
    return JobError(**fields) if fields else None


def load_lease(reply: Sequence[Any]) -> Lease:
    """The lease in the reply of a script that takes jobs up."""
    fence, attempts, exhausted, superseded, job, upload, accepted_us, password, cancel, begun, entry = reply
    return Lease(
        fence=int(fence),
        attempts=int(attempts),
        exhausted=bool(exhausted),
        upload=Upload(**json.loads(upload), accepted_us=int(accepted_us), password=password.decode()),
        job=load_job(job),
        entry=entry.decode(),
        cancelling=cancel == b"1",
        superseded=bool(superseded),
        begun=begun == b"1",
    )


def reaching_redis() -> AbstractContextManager[None]:
    """Raise what Redis cannot do as `Unavailable` QUEUE_UNAVAILABLE."""
    return reached("The job queue cannot be reached; try again soon.", "QUEUE_UNAVAILABLE")
