"""The JSON that clients send: forms that refuse what they do not know, and their protobuf messages.

Bounds that a service checks itself are documented here and not checked twice: an error reads the same over gRPC and REST.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Literal, Self

import orjson
from fastapi import Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr, model_validator
from starlette.exceptions import HTTPException

from rag.metadata import to_value
from rag.v1 import generator_pb2, passage_pb2, retriever_pb2

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Int32 = Annotated[int, Field(strict=True, ge=-(2**31), lt=2**31)]
Scalar = StrictBool | StrictStr | Number
PageSize = Annotated[int, Query(ge=-(2**31), lt=2**31, description="At most this many; 0 for 50, 500 at most.")]
PageToken = Annotated[str, Query(description="The `next_page_token` of the page before.")]
Mode = Literal["hybrid", "dense", "keyword"]
Role = Literal["user", "assistant"]
Rated = Literal["up", "down"]

_ROLES = {"user": generator_pb2.ROLE_USER, "assistant": generator_pb2.ROLE_ASSISTANT}
_MODES = {
    "hybrid": retriever_pb2.RETRIEVAL_MODE_HYBRID,
    "dense": retriever_pb2.RETRIEVAL_MODE_DENSE,
    "keyword": retriever_pb2.RETRIEVAL_MODE_KEYWORD,
    None: retriever_pb2.RETRIEVAL_MODE_UNSPECIFIED,
}


class Body(BaseModel):
    """A JSON object whose members are all known."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Range(Body):
    """A range of numbers, open at a side that is not given."""

    min: Number | None = Field(None, description="The least number inside.")
    max: Number | None = Field(None, description="The greatest number inside.")


class ConditionBody(Body):
    """A test on one metadata key; exactly one of the tests is given."""

    key: StrictStr = Field(description="The metadata key.")
    equals: Scalar | None = Field(None, description="Equal to this value.")
    not_equals: Scalar | None = Field(None, description="Different from this value.")
    any_of: list[Scalar] | None = Field(None, description="Equal to one of these values.")
    range: Range | None = Field(None, description="A number within these bounds.")

    @model_validator(mode="after")
    def _one_test(self) -> Self:
        given = [test for test in (self.equals, self.not_equals, self.any_of, self.range) if test is not None]
        if len(given) != 1:
            message = "give exactly one of equals, not_equals, any_of and range"
            raise ValueError(message)
        return self

    def to_proto(self) -> passage_pb2.Condition:
        """Return the condition of the contract."""
        if self.equals is not None:
            return passage_pb2.Condition(key=self.key, equals=to_value(self.equals))
        if self.not_equals is not None:
            return passage_pb2.Condition(key=self.key, not_equals=to_value(self.not_equals))
        if self.any_of is not None:
            values = passage_pb2.MetadataValues(values=[to_value(value) for value in self.any_of])
            return passage_pb2.Condition(key=self.key, any_of=values)
        bounds = self.range or Range(min=None, max=None)
        return passage_pb2.Condition(key=self.key, range=passage_pb2.NumberRange(min=bounds.min, max=bounds.max))


class FilterBody(Body):
    """Narrows a search to some of the documents."""

    document_ids: list[StrictStr] = Field([], description="The documents to look in; all when empty. At most 100.")
    conditions: list[ConditionBody] = Field([], description="Conditions on the documents' metadata. At most 20.")

    def to_proto(self) -> passage_pb2.Filter:
        """Return the filter of the contract."""
        conditions = [condition.to_proto() for condition in self.conditions]
        return passage_pb2.Filter(document_ids=self.document_ids, conditions=conditions)


class Retrieval(Body):
    """How the documents are searched."""

    top_k: Int32 | None = Field(None, description="How many passages: 1 to 100. Default 8.")
    mode: Mode | None = Field(None, description="How to look for them. Default hybrid.")
    min_score: Number | None = Field(None, description="The least cosine similarity, -1 to 1; not in keyword mode.")
    filter: FilterBody | None = Field(None, description="Narrows the search.")

    def to_fields(self) -> dict[str, Any]:
        """Return the fields that the requests of the contract share."""
        narrowed = self.filter.to_proto() if self.filter else None
        return {"top_k": self.top_k, "mode": _MODES[self.mode], "min_score": self.min_score, "filter": narrowed}


class TurnBody(Body):
    """One turn of a conversation."""

    role: Role = Field(description="Who spoke: user or assistant.")
    text: StrictStr = Field(description="What was said: 1 to 32,768 characters.")

    def to_proto(self) -> generator_pb2.Turn:
        """Return the turn of the contract."""
        return generator_pb2.Turn(role=_ROLES[self.role], text=self.text)


_CONVERSATION: list[Any] = [
    {"role": "user", "text": "How do I rotate the keys?"},
    {"role": "assistant", "text": "Add the new key, restart, then remove the old one [1]."},
]


class QueryBody(Retrieval):
    """A question with its parameters."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"question": "How do I rotate the keys?", "stream": True},
                {"question": "How often should I do that?", "history": _CONVERSATION},
                {"question": "How do I rotate the keys?", "use_cache": False},
            ]
        }
    )

    question: StrictStr = Field(description="The question: 1 to 8,192 characters.")
    max_tokens: Int32 | None = Field(None, description="The longest answer in tokens: 1 to 8,192.")
    temperature: Number | None = Field(None, description="How freely the model words the answer: 0 to 2.")
    history: list[TurnBody] = Field(
        [],
        description="The conversation so far, oldest turn first, without the question: at most 100 turns, 65,536 characters "
        "together. The oldest turns are left out when they do not fit into the prompt.",
    )
    use_cache: StrictBool | None = Field(
        None,
        description="Whether the answer may come from the cache, or be shared with others who ask the same. Default true.",
    )
    stream: StrictBool = Field(False, description="Answer as server-sent events.")  # noqa: FBT003

    def to_proto(self) -> generator_pb2.GenerateRequest:
        """Return the request of the contract."""
        return generator_pb2.GenerateRequest(
            question=self.question,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            history=[turn.to_proto() for turn in self.history],
            use_cache=self.use_cache,
            **self.to_fields(),
        )


class SearchBody(Retrieval):
    """A search with its parameters."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"query": "rotate keys", "top_k": 5}]})

    query: StrictStr = Field(description="The query: 1 to 8,192 characters.")

    def to_proto(self) -> retriever_pb2.RetrieveRequest:
        """Return the request of the contract."""
        return retriever_pb2.RetrieveRequest(query=self.query, **self.to_fields())


class _BoundedRequest(Request):
    max_bytes: int = 0
    timeout_s: float = 0.0

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            try:
                async with asyncio.timeout(self.timeout_s):
                    self._body = await self._read()
            except TimeoutError as error:
                raise HTTPException(408, "The body did not arrive in time.") from error
        return self._body

    async def json(self) -> Any:
        # Unlike json.loads it refuses NaN, Infinity, 1e999, lone surrogates and broken UTF-8.
        return orjson.loads(await self.body())

    async def _read(self) -> bytes:
        too_large = HTTPException(413, f"The body is larger than {self.max_bytes} bytes.")
        if declared_length(self) > self.max_bytes:
            raise too_large
        body = bytearray()
        async for chunk in self.stream():
            body += chunk
            if len(body) > self.max_bytes:
                raise too_large
        return bytes(body)


class BoundedJson(APIRoute):
    """A route that reads its JSON body strictly and within the limits the app has set."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the route's handler."""
        handle = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            reader = _BoundedRequest(request.scope, request.receive)
            reader.max_bytes = request.app.state.max_body_bytes
            reader.timeout_s = request.app.state.body_timeout_s
            _check_type(request)
            return await handle(reader)

        return bounded


def _check_type(request: Request) -> None:
    """Refuse what a page of another site can send without asking: a form, or text that happens to be JSON."""
    has_body = declared_length(request) > 0 or "transfer-encoding" in request.headers
    kind = media_type(request)
    if has_body and kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise HTTPException(415, "The body must be JSON, and its Content-Type application/json.")


def media_type(request: Request) -> str:
    """Return the Content-Type without its parameters, in lower case; empty when there is none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def declared_length(request: Request) -> int:
    """Return the Content-Length, 0 when there is none."""
    value = request.headers.get("content-length", "")
    return int(value) if value.isascii() and value.isdigit() else 0
