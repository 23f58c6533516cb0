"""Jobs: the work of making uploads searchable."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import ConfigDict, Field, StrictStr

from rag.runtime.errors import InvalidInput
from rag.v1 import ingestor_pb2 as pb
from rag.v1.ingestor_pb2_grpc import IngestorServiceStub
from services.gateway.http import examples, schemas, sse, wire
from services.gateway.http.bodies import Body, BoundedJson, PageSize, PageToken
from services.gateway.http.calls import allow, json_response, while_connected
from services.gateway.http.deps import Deps
from services.gateway.http.upload_docs import PASSWORD
from services.gateway.http.uploads import SentHeaders

_MAX_SEQUENCE_DIGITS = 19
_STATES = {
    "queued": pb.JOB_STATE_QUEUED,
    "running": pb.JOB_STATE_RUNNING,
    "ready": pb.JOB_STATE_READY,
    "failed": pb.JOB_STATE_FAILED,
    "cancelled": pb.JOB_STATE_CANCELLED,
    "dead": pb.JOB_STATE_DEAD,
}
State = Annotated[
    Literal["queued", "running", "ready", "failed", "cancelled", "dead"] | None,
    Query(description="Only jobs in this state; `dead` is the dead letter."),
]


class RetryBody(Body):
    """What may change before a job is tried again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}, {"password": "open sesame"}]})

    password: StrictStr = Field("", repr=False, description="The password that opens the document.")


class Jobs:
    """The routes of jobs."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._peer = deps.peers.ingestor
        self._stub = IngestorServiceStub(self._peer.channel)

    async def list_all(
        self, request: Request, page_size: PageSize = 0, page_token: PageToken = "", state: State = None
    ) -> Response:
        """List the jobs, newest first."""
        wanted = _STATES[state] if state else pb.JOB_STATE_UNSPECIFIED
        asked = pb.ListJobsRequest(page_size=page_size, page_token=page_token, state=wanted)
        return json_response(wire.to_json(await self._ask(request, self._stub.ListJobs, asked)))

    async def get(self, request: Request, job_id: str) -> Response:
        """Return one job."""
        answer = await self._ask(request, self._stub.GetJob, pb.GetJobRequest(job_id=job_id))
        return json_response(wire.to_json(answer.job))

    async def cancel(self, request: Request, job_id: str) -> Response:
        """End a job that is not finished. When the answer comes, nothing of it is or will be searchable."""
        answer = await self._ask(request, self._stub.CancelJob, pb.CancelJobRequest(job_id=job_id))
        return json_response(wire.to_json(answer.job))

    async def retry(self, request: Request, job_id: str, body: RetryBody | None = None) -> Response:
        """Put a job that failed or is dead back in the queue, with its upload.

        After the reason PDF_ENCRYPTED, send the password as JSON or in the header X-Document-Password.
        """
        password = SentHeaders.of(request).password or (body.password if body else "")
        answer = await self._ask(request, self._stub.RetryJob, pb.RetryJobRequest(job_id=job_id, password=password))
        return json_response(wire.to_json(answer.job), 202, {"location": f"/v1/jobs/{answer.job.id}"})

    async def events(
        self,
        job_id: str,
        last_event_id: Annotated[str, Header(description="Events up to this one are left out.")] = "",
    ) -> Response:
        """Stream a job's progress, from any event on; the stream ends with the event in which the job is finished."""
        allow(self._deps.settings.watch_timeout_s)
        asked = pb.WatchJobRequest(job_id=job_id, after_sequence=_sequence(last_event_id))
        return self._deps.event_stream(_frames(self._peer.stream(self._stub.WatchJob, asked)))

    async def _ask(self, request: Request, method: Any, asked: Any) -> Any:
        allow(self._deps.settings.unary_timeout_s)
        return await while_connected(request, self._peer.unary(method, asked))


def routes(deps: Deps) -> APIRouter:
    """Return the routes under /v1/jobs."""
    jobs = Jobs(deps)
    router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
    job, page = schemas.of(pb.Job.DESCRIPTOR), schemas.of(pb.ListJobsResponse.DESCRIPTOR)

    def add(path: str, method: str, handler: Any, name: str, summary: str, **more: Any) -> None:
        router.add_api_route(path, handler, methods=[method], operation_id=name, summary=summary, **more)

    ingest: dict[str, Any] = {"scope": "ingest"}
    away, one = ("INGESTOR_UNAVAILABLE", "QUEUE_UNAVAILABLE"), ("BAD_ID", "JOB_NOT_FOUND")
    changed = ("CANCEL_PENDING", "JOB_CHANGED", "JOB_FINISHED", "JOB_RESTLESS")
    retried = ("BAD_PASSWORD", "JOB_NOT_RETRYABLE", "PASSWORD_IN_URL", "QUEUE_FULL", "UPLOAD_MISSING")
    add("", "GET", jobs.list_all, "listJobs", "List jobs",
        responses=schemas.answers(page, example=examples.JOBS, **ingest,
                                  reasons=("BAD_PAGE_SIZE", "BAD_PAGE_TOKEN", "BAD_STATE", *away)))  # fmt: skip
    add("/{job_id}", "GET", jobs.get, "getJob", "Get a job",
        responses=schemas.answers(job, example=examples.JOB, **ingest, reasons=(*one, *away)))  # fmt: skip
    add("/{job_id}/events", "GET", jobs.events, "watchJob", "Watch a job (server-sent events)",
        responses=schemas.answers(None, events="job", **ingest,
                                  reasons=("BAD_LAST_EVENT_ID", "TOO_MANY_WATCHERS", *one, *away)))  # fmt: skip
    add("/{job_id}:cancel", "POST", jobs.cancel, "cancelJob", "Cancel a job",
        responses=schemas.answers(job, example=examples.CANCELLED_JOB, **ingest,
                                  reasons=(*one, *changed, *away)))  # fmt: skip
    add("/{job_id}:retry", "POST", jobs.retry, "retryJob", "Retry a job", status_code=202,
        responses=schemas.answers(job, status=202, example=examples.JOB, **ingest, reads_body=True,
                                  reasons=(*one, *changed, *retried, *away)),
        route_class_override=BoundedJson, openapi_extra=PASSWORD)  # fmt: skip
    return router


async def _frames(events: AsyncGenerator[pb.WatchJobResponse, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(events):
        async for event in events:
            yield sse.frame("job", wire.dump(event), event.sequence)


def _sequence(last_event_id: str) -> int:
    if not last_event_id:
        return 0
    if not (last_event_id.isascii() and last_event_id.isdigit()) or len(last_event_id) > _MAX_SEQUENCE_DIGITS:
        raise InvalidInput("Last-Event-ID is not the id of an event of a job.", "BAD_LAST_EVENT_ID")
    return int(last_event_id)
