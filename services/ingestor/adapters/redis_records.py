"""Jobs as Redis keeps them: keys, JSON, and errors in our words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from redis.exceptions import RedisError

from rag.runtime.errors import Unavailable
from services.ingestor.jobs import Job, JobError, JobState, Progress, Upload

QUEUE = "rag:ingest:queue"
GROUP = "ingestors"


def job_key(tenant: str, job_id: str) -> str:
    """The hash of one job: job, upload, state, sequence, fence, attempts."""
    return f"rag:{tenant}:job:{job_id}"


def events_key(tenant: str, job_id: str) -> str:
    """The stream of one job's events; the ids are `<sequence>-0`."""
    return f"rag:{tenant}:job:{job_id}:events"


def jobs_key(tenant: str) -> str:
    """The tenant's job ids, scored by creation in microseconds."""
    return f"rag:{tenant}:jobs"


def dump(value: Job | Upload) -> str:
    """JSON of a job or an upload."""
    return json.dumps(asdict(value), ensure_ascii=False, separators=(",", ":"))


def load_job(raw: bytes) -> Job:
    """The job in JSON that `dump` wrote."""
    fields: dict[str, Any] = json.loads(raw)
    error = fields.pop("error")
    return Job(
        **{
            **fields,
            "state": JobState(fields["state"]),
            "progress": Progress(**fields["progress"]),
            "error": JobError(**error) if error else None,
        }
    )


def load_upload(raw: bytes) -> Upload:
    """The upload in JSON that `dump` wrote."""
    return Upload(**json.loads(raw))


@contextmanager
def reaching_redis() -> Iterator[None]:
    """Raise what Redis cannot do as `Unavailable` QUEUE_UNAVAILABLE."""
    try:
        yield
    except RedisError as error:
        raise Unavailable("The job queue cannot be reached; try again soon.", "QUEUE_UNAVAILABLE") from error
