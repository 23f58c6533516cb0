"""Jobs: the work of making uploads searchable."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response

from rag.runtime.errors import InvalidInput
from rag.v1 import ingestor_pb2 as pb
from rag.v1.ingestor_pb2_grpc import IngestorServiceStub
from services.gateway.http import schemas, sse, wire
from services.gateway.http.bodies import PageSize, PageToken
from services.gateway.http.calls import allow, json_response, while_connected
from services.gateway.http.deps import Deps

_MAX_SEQUENCE_DIGITS = 19


class Jobs:
    """The routes of jobs."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._peer = deps.peers.ingestor
        self._stub = IngestorServiceStub(self._peer.channel)

    async def list_all(self, request: Request, page_size: PageSize = 0, page_token: PageToken = "") -> Response:
        """List the jobs, newest first."""
        allow(self._deps.settings.unary_timeout_s)
        asked = pb.ListJobsRequest(page_size=page_size, page_token=page_token)
        answer = await while_connected(request, self._peer.unary(self._stub.ListJobs, asked))
        return json_response(wire.to_json(answer))

    async def get(self, request: Request, job_id: str) -> Response:
        """Return one job."""
        allow(self._deps.settings.unary_timeout_s)
        asked = pb.GetJobRequest(job_id=job_id)
        answer = await while_connected(request, self._peer.unary(self._stub.GetJob, asked))
        return json_response(wire.to_json(answer.job))

    async def events(
        self,
        job_id: str,
        last_event_id: Annotated[str, Header(description="Events up to this one are left out.")] = "",
    ) -> Response:
        """Stream a job's progress, from any event on; the stream ends with the event in which the job is finished."""
        allow(self._deps.settings.watch_timeout_s)
        asked = pb.WatchJobRequest(job_id=job_id, after_sequence=_sequence(last_event_id))
        return self._deps.event_stream(_frames(self._peer.stream(self._stub.WatchJob, asked)))


def routes(deps: Deps) -> APIRouter:
    """Return the routes under /v1/jobs."""
    jobs = Jobs(deps)
    router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
    router.add_api_route(
        "",
        jobs.list_all,
        methods=["GET"],
        operation_id="listJobs",
        summary="List jobs",
        responses=schemas.answers(schemas.of(pb.ListJobsResponse.DESCRIPTOR)),
    )
    router.add_api_route(
        "/{job_id}",
        jobs.get,
        methods=["GET"],
        operation_id="getJob",
        summary="Get a job",
        responses=schemas.answers(schemas.of(pb.Job.DESCRIPTOR), 404),
    )
    router.add_api_route(
        "/{job_id}/events",
        jobs.events,
        methods=["GET"],
        operation_id="watchJob",
        summary="Watch a job (server-sent events)",
        responses=schemas.answers(None, 404, events=True),
    )
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
