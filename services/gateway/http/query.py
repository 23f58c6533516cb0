"""Questions and searches."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from rag.runtime import context
from rag.runtime.errors import Internal
from rag.v1 import generator_pb2 as pb
from rag.v1 import retriever_pb2
from rag.v1.generator_pb2_grpc import GeneratorServiceStub
from rag.v1.retriever_pb2_grpc import RetrieverServiceStub
from services.gateway.http import examples, schemas, sse, wire
from services.gateway.http.bodies import BoundedJson, QueryBody, SearchBody
from services.gateway.http.calls import allow, json_response, while_connected
from services.gateway.http.deps import Deps

_SEARCHED = (
    *("BAD_FILTER", "BAD_ID", "BAD_MIN_SCORE", "BAD_TOP_K", "MODEL_MISMATCH", "SEARCH_INCOMPLETE", "EMBEDDER_BUSY"),
    *("CATALOGUE_UNAVAILABLE", "EMBEDDER_UNAVAILABLE", "INDEX_NOT_OPEN", "INDEX_UNAVAILABLE", "RETRIEVER_UNAVAILABLE"),
)
_ASKED = (
    *("BAD_MAX_TOKENS", "BAD_TEMPERATURE", "EMPTY_QUESTION", "EMPTY_TURN", "HISTORY_TOO_LONG", "QUESTION_TOO_LONG"),
    *("TOO_MANY_TURNS", "TURN_TOO_LONG", "TOKENS_SPENT", "COST_SPENT", "TOO_MANY_STREAMS", "ANSWER_INCOMPLETE"),
    *("GENERATOR_UNAVAILABLE", "MODEL_UNAVAILABLE"),
)


class Query:
    """The routes that ask."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._generator = GeneratorServiceStub(deps.peers.generator.channel)
        self._retriever = RetrieverServiceStub(deps.peers.retriever.channel)

    async def query(self, request: Request, body: QueryBody) -> Response:
        """Answer a question from the documents, with citations: as one JSON object, or as events while it is written."""
        allow(self._deps.settings.query_timeout_s)
        events = self._deps.peers.generator.stream(self._generator.Generate, body.to_proto())
        if body.stream or "text/event-stream" in request.headers.get("accept", ""):
            return self._deps.event_stream(answer_frames(events))
        return json_response(await while_connected(request, collect_answer(events)))

    async def search(self, request: Request, body: SearchBody) -> Response:
        """Find the passages that match a query."""
        allow(self._deps.settings.query_timeout_s)
        events = self._deps.peers.retriever.stream(self._retriever.Retrieve, body.to_proto())
        return json_response(await while_connected(request, collect_hits(events)))


def routes(deps: Deps) -> APIRouter:
    """Return the routes under /v1 that ask."""
    query = Query(deps)
    router = APIRouter(prefix="/v1", tags=["query"], route_class=BoundedJson)
    router.add_api_route(
        "/query",
        query.query,
        methods=["POST"],
        operation_id="query",
        summary="Ask a question",
        responses=schemas.answers(
            schemas.answer(), example=examples.ANSWER, events="answer", reads_body=True, reasons=(*_ASKED, *_SEARCHED)
        ),
    )
    router.add_api_route(
        "/search",
        query.search,
        methods=["POST"],
        operation_id="search",
        summary="Find passages",
        responses=schemas.answers(
            schemas.hits(),
            example=examples.HITS,
            reads_body=True,
            reasons=("EMPTY_QUERY", "QUERY_TOO_LONG", *_SEARCHED),
        ),
    )
    return router


async def answer_frames(events: AsyncGenerator[pb.GenerateResponse, None]) -> AsyncGenerator[bytes, None]:
    """Return an answer's events as frames, one per event."""
    async with aclosing(events):
        async for event in events:
            one = answer_frame(event)
            if one:
                yield one


def answer_frame(event: pb.GenerateResponse) -> bytes:
    """Return one event as a frame; nothing for one that this version does not know."""
    name = event.WhichOneof("event")
    if name == "token":  # many times a second: no detour over the general encoder
        return sse.frame(name, orjson.dumps({"text": event.token.text}), event.sequence)
    return sse.frame(name, wire.dump(getattr(event, name)), event.sequence) if name else b""


async def collect_answer(events: AsyncGenerator[pb.GenerateResponse, None]) -> dict[str, Any]:
    """Return an answer's events as one object.

    Raises:
        Internal: ANSWER_INCOMPLETE when they stop before the last one.
    """
    answer = AnswerSoFar()
    async with aclosing(events):
        async for event in events:
            answer.add(event)
    return answer.whole()


class AnswerSoFar:
    """The events of an answer that came, on their way to one object."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._citations: list[Any] = []
        self._notices: list[Any] = []
        self._last: dict[str, Any] = {}

    def add(self, event: pb.GenerateResponse) -> None:
        """Take the next event in."""
        name = event.WhichOneof("event")
        if name == "token":
            self._text.append(event.token.text)
        elif name == "citation":
            self._citations.append(wire.to_json(event.citation))
        elif name == "notice":
            self._notices.append(wire.to_json(event.notice))
        elif name:
            self._last[name] = wire.to_json(getattr(event, name))

    def whole(self) -> dict[str, Any]:
        """Return the answer as one object.

        Raises:
            Internal: ANSWER_INCOMPLETE when the last event did not come.
        """
        if "done" not in self._last:
            raise Internal("The answer broke off before its end.", "ANSWER_INCOMPLETE")
        accepted = self._last.get("accepted", {})
        return {
            "answer_id": accepted.get("answer_id"),
            "answer": "".join(self._text),
            "citations": self._citations,
            "sources": self._last.get("sources", {}).get("sources", []),
            "notices": self._notices,
            "usage": self._last.get("usage"),
            "finish_reason": self._last["done"]["finish_reason"],
            "request_id": accepted.get("request_id") or context.current().request_id,
        }


async def collect_hits(events: AsyncGenerator[retriever_pb2.RetrieveResponse, None]) -> dict[str, Any]:
    """Return a search's events as one object.

    Raises:
        Internal: SEARCH_INCOMPLETE when they stop before the summary.
    """
    hits: list[Any] = []
    summary: Any = None
    async with aclosing(events):
        async for event in events:
            name = event.WhichOneof("event")
            if name == "hit":
                hits.append(wire.to_json(event.hit))
            elif name == "summary":
                summary = wire.to_json(event.summary)
    if summary is None:
        raise Internal("The search broke off before its end.", "SEARCH_INCOMPLETE")
    return {"hits": hits, "summary": summary}
