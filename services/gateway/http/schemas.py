"""The answers of the routes as OpenAPI describes them, made from the protobuf descriptors they come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

from rag.v1 import generator_pb2, passage_pb2, retriever_pb2
from services.gateway.http.examples import EVENTS
from services.gateway.http.problems import MEDIA_TYPE
from services.gateway.http.reasons import by_status
from services.gateway.http.wire import enum_names

Schema = dict[str, Any]

_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
}
_NUMBERS = {FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT}
_ERRORS = {
    400: "The request is not valid; `errors` names the fields.",
    401: "Nobody knows who is calling.",
    403: "This is not allowed.",
    404: "There is no such thing.",
    408: "The body did not arrive in time.",
    409: "It is taken, or somebody else was first.",
    413: "The body is too large.",
    415: "The body is of a type that is not taken.",
    429: "Too much at once; `Retry-After` says when to come back.",
    500: "An error of ours; the request id finds it in our logs.",
    503: "A service behind the gateway cannot be reached.",
    504: "The time ran out.",
}
_PROBLEM: Schema = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "reason", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong, for people."},
        "instance": {"type": "string", "description": "The path that was asked."},
        "reason": {"type": "string", "description": "What is wrong, for programs."},
        "request_id": {"type": "string"},
        "retry_after": {"type": "number", "description": "Seconds."},
        "errors": {"type": "array", "items": {"type": "object", "additionalProperties": {"type": "string"}}},
        "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
_EVENT: Schema = {name: {"type": "string"} for name in ("id", "event", "data")}
"""What tools see as one event; the stream itself is text, so no type is said."""
_EVENTS = "Events `id` (sequence), `event` (name), `data` (one line of JSON); a comment every few seconds of silence."


def answers(
    schema: Schema | None,
    *,
    status: int = 200,
    example: Any = None,
    events: str = "",
    scope: str = "query",
    reads_body: bool = False,
    reasons: Iterable[str] = (),
) -> dict[int | str, Any]:
    """Return the `responses` of an operation.

    Args:
        schema: Of its JSON answer; None when there is none.
        status: Of its answer.
        example: An answer.
        events: The example of the events that it answers too, such as `answer`.
        scope: What the caller must have.
        reads_body: Whether it reads JSON.
        reasons: Of its errors, beside those that every route can give.
    """
    found: dict[int | str, Any] = {status: _told("The answer.", _content(schema, example, events))}
    for code, known in by_status(reasons, reads_body=reads_body).items():
        found[code] = _error(code, known, scope)
    return found


def _content(schema: Schema | None, example: Any, events: str) -> Schema:
    content: Schema = {"application/json": {"schema": schema}} if schema else {}
    if schema and example is not None:
        content["application/json"]["example"] = example
    if events:
        shown = {"description": _EVENTS, "properties": dict(_EVENT)}
        content["text/event-stream"] = {"schema": shown, "example": EVENTS[events]}
    return content


def _error(status: int, reasons: Mapping[str, str], scope: str) -> Schema:
    text = _ERRORS[status]
    if status == 403:
        text += f" The scope needed is `{scope}`."
    text += "".join(f"\n- `{reason}`: {means}" for reason, means in reasons.items())
    example = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": _ERRORS[status],
        "instance": "/v1/...",
        "reason": next(iter(reasons)),
        "request_id": "req_0a1b2c3d4e5f60718293a4b5",
    }
    told = _told(text, {MEDIA_TYPE: {"schema": _PROBLEM, "example": example}}, retry=status in {429, 503})
    if status == 401:
        told["headers"]["WWW-Authenticate"] = {"description": "`Bearer`.", "schema": {"type": "string"}}
    return told


def _told(text: str, content: Schema, *, retry: bool = False) -> Schema:
    headers = {"X-Request-Id": {"description": "The id under which our logs know it.", "schema": {"type": "string"}}}
    if retry:
        headers["Retry-After"] = {"description": "When to come back, in seconds.", "schema": {"type": "string"}}
    return {"description": text, "content": content, "headers": headers}


def of(message: Descriptor) -> Schema:
    """Return the schema of a message as `wire` writes it."""
    if message.full_name == Timestamp.DESCRIPTOR.full_name:
        return {"type": "string", "format": "date-time"}
    if message.full_name == passage_pb2.MetadataValue.DESCRIPTOR.full_name:
        return {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]}
    return {"type": "object", "properties": {field.name: _field(field) for field in message.fields}}


def accepted(job: Descriptor) -> Schema:
    """Return the schema of the answer to an upload: the job of one document, or what became of each of several."""
    result: Schema = {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": ["string", "null"], "description": "Null when the form broke before it was known."},
            "job": of(job),
            "problem": {**_PROBLEM, "description": "Why there is no job."},
        },
    }
    results = {"type": "object", "required": ["results"], "properties": {"results": {"type": "array", "items": result}}}
    return {"anyOf": [of(job), results]}


def _field(field: FieldDescriptor) -> Schema:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return {"type": "object", "additionalProperties": _value(field.message_type.fields_by_name["value"])}
    if field.is_repeated:
        return {"type": "array", "items": _value(field)}
    if field.has_presence:
        return {"anyOf": [_value(field), {"type": "null"}]}
    return _value(field)


def _value(field: FieldDescriptor) -> Schema:
    if field.enum_type is not None:
        return {"enum": list(enum_names(field.enum_type).values())}
    if field.message_type is not None:
        return of(field.message_type)
    if field.cpp_type in _INTEGERS:
        return {"type": "integer"}
    if field.cpp_type in _NUMBERS:
        return {"type": "number"}
    return {"type": "boolean" if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL else "string"}


def answer() -> Schema:
    """Return the schema of an answer to a question."""
    sources = of(generator_pb2.Sources.DESCRIPTOR)["properties"]["sources"]
    done = of(generator_pb2.Done.DESCRIPTOR)["properties"]
    return {
        "type": "object",
        "properties": {
            "answer_id": {"type": "string"},
            "answer": {"type": "string"},
            "citations": {"type": "array", "items": of(generator_pb2.Citation.DESCRIPTOR)},
            "sources": sources,
            "notices": {"type": "array", "items": of(passage_pb2.Notice.DESCRIPTOR)},
            "usage": of(generator_pb2.Usage.DESCRIPTOR),
            "request_id": {"type": "string"},
            **done,
        },
    }


def hits() -> Schema:
    """Return the schema of the answer to a search."""
    return {
        "type": "object",
        "properties": {
            "hits": {"type": "array", "items": of(retriever_pb2.Hit.DESCRIPTOR)},
            "summary": of(retriever_pb2.RetrieveSummary.DESCRIPTOR),
        },
    }
