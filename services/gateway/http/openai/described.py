"""OpenAI's answers and errors as OpenAPI describes them."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from services.gateway.http import schemas
from services.gateway.http.openai.errors import code_of, shape
from services.gateway.http.reasons import by_status
from services.gateway.http.schemas import Schema

_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "integer"}
_NO_TEXT: Schema = {"anyOf": [_TEXT, {"type": "null"}]}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "required": list(properties), "properties": properties}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


_ERROR = _object(error=_object(message=_TEXT, type=_TEXT, param=_NO_TEXT, code=_NO_TEXT))
_EVENTS = (
    "`data: {chunk}` with `object` `chat.completion.chunk`, the last `data: [DONE]`; a comment every few seconds of silence; "
    'after a failure `data: {"error": {...}}` and no `[DONE]`.'
)
_CITED = _object(start_index=_NUMBER, end_index=_NUMBER, title=_TEXT, url=_TEXT)
_ANNOTATION = _object(type={"enum": ["url_citation"]}, url_citation=_CITED)
_MESSAGE = _object(
    role={"enum": ["assistant"]}, content=_TEXT, refusal={"type": "null"}, annotations=_list(_ANNOTATION)
)
_CHOICE = _object(
    index=_NUMBER, message=_MESSAGE, logprobs={"type": "null"}, finish_reason={"enum": ["stop", "length"]}
)
_USAGE = _object(
    prompt_tokens=_NUMBER,
    completion_tokens=_NUMBER,
    total_tokens=_NUMBER,
    prompt_tokens_details=_object(cached_tokens=_NUMBER),
)
MODEL = _object(id=_TEXT, object={"enum": ["model"]}, created=_NUMBER, owned_by=_TEXT)
MODELS = _object(object={"enum": ["list"]}, data=_list(MODEL))
_VECTOR: Schema = {"anyOf": [_list({"type": "number"}), {"type": "string", "format": "byte"}]}
_COST = _object(
    revision=_TEXT, tokens=_NUMBER, from_memory=_NUMBER, from_redis=_NUMBER, computed=_NUMBER, truncated=_NUMBER
)
EMBEDDINGS = _object(
    object={"enum": ["list"]},
    data=_list(_object(object={"enum": ["embedding"]}, index=_NUMBER, embedding=_VECTOR)),
    model=_TEXT,
    usage=_object(prompt_tokens=_NUMBER, total_tokens=_NUMBER),
    rag=_COST,
)


def completion() -> Schema:
    """Return the schema of a whole answer."""
    answer = schemas.answer()
    own = {**answer, "properties": {name: of for name, of in answer["properties"].items() if name != "answer"}}
    return _object(
        id=_TEXT,
        object={"enum": ["chat.completion"]},
        created=_NUMBER,
        model=_TEXT,
        choices=_list(_CHOICE),
        usage=_USAGE,
        rag=own,
    )


def answers(
    schema: Schema, example: Any, *reasons: str, events: str = "", reads_body: bool = False
) -> dict[int | str, Any]:
    """Return the `responses` of an operation, its errors in OpenAI's shape.

    Args:
        schema: Of its JSON answer.
        example: An answer.
        reasons: Of its errors, beside those that every route can give.
        events: What it sends as events; nothing when it sends none.
        reads_body: Whether it reads JSON.
    """
    found = schemas.answers(schema, example=example, reasons=reasons, reads_body=reads_body, scope="query")
    for status, known in by_status(reasons, reads_body=reads_body).items():
        found[status].update(_error(status, known))
    if events:
        found[200]["content"]["text/event-stream"] = {"schema": {**_TEXT, "description": _EVENTS}, "example": events}
    return found


def _error(status: int, reasons: Mapping[str, str]) -> Schema:
    codes: dict[str, list[str]] = {}
    for reason, means in reasons.items():
        codes.setdefault(code_of(status, reason), []).append(means)
    text = f"{HTTPStatus(status).phrase}. The `code`s:"
    text += "".join(f"\n- `{code}`: {'; '.join(means)}" for code, means in codes.items())
    first, means = next(iter(reasons.items()))
    example = shape(means, status, first, None)
    return {"description": text, "content": {"application/json": {"schema": _ERROR, "example": example}}}
