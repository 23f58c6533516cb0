"""The index that all tenants share, for operators."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import ConfigDict, Field, StrictBool, StrictStr

from rag.v1 import retriever_pb2 as pb
from rag.v1.retriever_pb2_grpc import RetrieverServiceStub
from services.gateway.http import examples, schemas, sse, wire
from services.gateway.http.bodies import Body, BoundedJson, Number
from services.gateway.http.calls import allow, json_response, while_connected
from services.gateway.http.deps import Deps

_ACTIONS = {
    "build": pb.REBUILD_ACTION_BUILD,
    "roll_back": pb.REBUILD_ACTION_ROLL_BACK,
    "cancel": pb.REBUILD_ACTION_CANCEL,
}


class LabelledQueryBody(Body):
    """A query and the documents that answer it."""

    query: StrictStr = Field(description="The query: 1 to 8,192 characters.")
    document_ids: list[StrictStr] = Field(description="The documents that answer it; at least one.")


class RebuildBody(Body):
    """What to do with the index."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{}, {"dry_run": True, "analyzer": "plain"}, {"action": "roll_back"}]}
    )

    action: Literal["build", "roll_back", "cancel"] = Field(
        "build",
        description="`build` a new index, compare, switch; `roll_back` to the one before; `cancel` the one being built.",
    )
    analyzer: StrictStr = Field(
        "", description="How texts become words in the new index; empty for what the settings say."
    )
    resplit: StrictBool = Field(
        False,  # noqa: FBT003
        description="Cut the documents' stored text anew, by the splitter that the ingestor has now.",
    )
    force: StrictBool = Field(False, description="Build it even when it would be like the live one.")  # noqa: FBT003
    dry_run: StrictBool = Field(False, description="Compare, but do not switch; the new index is dropped.")  # noqa: FBT003
    min_overlap: Number | None = Field(
        None, description="The least share of the five best hits that both must have in common, 0 to 1. Default 0.3."
    )
    queries: list[LabelledQueryBody] = Field(
        [], description="Queries of the caller's tenant with what should be found, at most 1,000."
    )
    max_precision_loss: Number | None = Field(
        None, description="How much lower precision@5 on these queries may be than now, 0 to 1. Default 0.02."
    )

    def to_proto(self) -> pb.RebuildIndexRequest:
        """Return the request of the contract."""
        given = self.model_dump(exclude={"action", "queries"}, exclude_none=True)
        queries = [pb.LabelledQuery(query=one.query, document_ids=one.document_ids) for one in self.queries]
        return pb.RebuildIndexRequest(action=_ACTIONS[self.action], queries=queries, **given)


class IndexRoutes:
    """The routes of the index."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._peer = deps.peers.retriever
        self._stub = RetrieverServiceStub(self._peer.channel)

    async def get(self, request: Request) -> Response:
        """Tell which index serves, which is being built, which are kept to roll back to, and how large they are."""
        allow(self._deps.settings.unary_timeout_s)
        answer = await while_connected(request, self._peer.unary(self._stub.GetIndex, pb.GetIndexRequest()))
        return json_response(wire.to_json(answer))

    async def rebuild(self, body: RebuildBody) -> Response:
        """Make a new index beside the live one, compare the two, and switch in one step or refuse and say why.

        The stream carries `progress`, then `comparison`, then one `result`. The work goes on when the caller leaves and after
        a restart; to ask again for the same index follows it.
        """
        allow(self._deps.settings.watch_timeout_s)
        return self._deps.event_stream(_frames(self._peer.stream(self._stub.RebuildIndex, body.to_proto())))


def routes(deps: Deps) -> APIRouter:
    """Return the routes under /v1/index."""
    index = IndexRoutes(deps)
    router = APIRouter(prefix="/v1", tags=["index"], route_class=BoundedJson)
    away = ("INDEX_NOT_OPEN", "INDEX_UNAVAILABLE", "CATALOGUE_UNAVAILABLE", "RETRIEVER_UNAVAILABLE")
    router.add_api_route(
        "/index",
        index.get,
        methods=["GET"],
        operation_id="getIndex",
        summary="Describe the index",
        responses=schemas.answers(
            schemas.of(pb.GetIndexResponse.DESCRIPTOR), example=examples.INDEX, scope="operator", reasons=away
        ),
    )
    refused = ("BAD_ACTION", "BAD_ANALYZER", "BAD_OVERLAP", "BAD_PRECISION_LOSS", "BAD_QUERIES", "NOT_NEEDED")
    states = ("NO_INDEX", "NO_REBUILD", "NO_RETIRED_INDEX", "REBUILD_RUNNING", "INDEX_ON_SERVER")
    router.add_api_route(
        "/index:rebuild",
        index.rebuild,
        methods=["POST"],
        operation_id="rebuildIndex",
        summary="Rebuild the index (server-sent events)",
        responses=schemas.answers(
            None, events="rebuild", scope="operator", reads_body=True, reasons=(*refused, *states, *away)
        ),
    )
    return router


async def _frames(events: AsyncGenerator[pb.RebuildIndexResponse, None]) -> AsyncGenerator[bytes, None]:
    sequence = 0
    async with aclosing(events):
        async for event in events:
            name = event.WhichOneof("event")
            if name:
                sequence += 1
                yield sse.frame(name, wire.dump(getattr(event, name)), sequence)
