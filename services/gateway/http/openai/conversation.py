"""A conversation of OpenAI's clients as a question of the contract, and what of it was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from rag.history import MAX_HISTORY_CHARS, MAX_TURN_CHARS, MAX_TURNS
from rag.runtime.errors import InvalidInput, NotFound
from rag.v1 import generator_pb2 as pb
from services.gateway.http.bodies import Mode, TurnBody
from services.gateway.http.openai.bodies import ChatBody, MessageBody, RagBody

CHAT_MODELS: Mapping[str, Mode] = {"ragmesh": "hybrid", "ragmesh-dense": "dense", "ragmesh-keyword": "keyword"}
"""The chat models, and how each looks for passages."""

Notice = dict[str, str]

_NO_SYSTEM: Notice = {
    "code": "SYSTEM_MESSAGE_IGNORED",
    "message": "System and developer messages are not obeyed: the server has its own.",
}
_CUT: Notice = {
    "code": "HISTORY_CUT",
    "message": "The conversation is too long: its oldest messages were left out.",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a conversation asks."""

    request: pb.GenerateRequest
    notices: Sequence[Notice]
    """What of the conversation does not count."""


def asked(body: ChatBody) -> Asked:
    """Return what a body asks.

    Raises:
        NotFound: MODEL_NOT_FOUND.
        InvalidInput: UNSUPPORTED_PARAMETER, INVALID, with the parameter's name as `param`.
        RequestValidationError: metadata that says something wrong about the search.
    """
    mode = CHAT_MODELS.get(body.model)
    if mode is None:
        raise no_such_model(body.model, CHAT_MODELS)
    body.refuse_unsupported()
    if body.stream_options is not None and not body.stream:
        raise InvalidInput("stream_options is taken only with stream.", "INVALID", param="stream_options")
    spoken = [message for message in body.messages if message.role in {"user", "assistant"}]
    if not spoken or spoken[-1].role != "user":
        raise InvalidInput("The last message must be the user's: it is the question.", "INVALID", param="messages")
    history = _history(spoken[:-1])
    rag = _search(body)
    request = pb.GenerateRequest(
        question=spoken[-1].content,
        history=[turn.to_proto() for turn in history],
        max_tokens=body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens,
        temperature=body.temperature,
        use_cache=rag.use_cache,
        **rag.model_copy(update={"mode": rag.mode or mode}).to_fields(),
    )
    ignored = [_NO_SYSTEM] if len(spoken) < len(body.messages) else []
    is_cut = len(history) < sum(1 for message in spoken[:-1] if message.content.strip())
    return Asked(request, [*ignored, _CUT] if is_cut else ignored)


def no_such_model(model: str, known: Mapping[str, object] | Sequence[str]) -> NotFound:
    """Return the error of a model that is not there."""
    names = ", ".join(f"`{name}`" for name in known)
    return NotFound(
        f"The model `{model[:100]}` does not exist here; there is {names}.", "MODEL_NOT_FOUND", param="model"
    )


def _history(messages: Sequence[MessageBody]) -> list[TurnBody]:
    """Return the latest turns that fit, oldest first: these clients send their whole conversation every time."""
    turns: list[TurnBody] = []
    left = MAX_HISTORY_CHARS
    for message in reversed(messages):
        text = message.content
        if not text.strip():
            continue  # an answer that was stopped before its first word
        left -= len(text)
        if len(turns) == MAX_TURNS or len(text) > MAX_TURN_CHARS or left < 0:
            break
        turns.append(TurnBody(role="user" if message.role == "user" else "assistant", text=text))
    return turns[::-1]


def _search(body: ChatBody) -> RagBody:
    """Return how to search: as `rag` says, and as the metadata says where it does not."""
    given = body.rag or RagBody.model_validate({})
    told = _of_metadata(body.metadata or {})
    won = {name: getattr(given, name) for name in given.model_fields_set}
    if told.filter and given.filter:
        conditions = [*given.filter.conditions, *told.filter.conditions]
        won["filter"] = given.filter.model_copy(update={"conditions": conditions})
    return told.model_copy(update=won)


def _of_metadata(metadata: Mapping[str, str]) -> RagBody:
    own = {name.removeprefix("rag."): value for name, value in metadata.items() if name.startswith("rag.")}
    filters = {name.removeprefix("filter."): own.pop(name) for name in list(own) if name.startswith("filter.")}
    found: dict[str, Any] = {name: _plain(value) for name, value in own.items()}
    if filters:
        found["filter"] = {"conditions": [{"key": key, "equals": value} for key, value in filters.items()]}
    try:
        return RagBody.model_validate(found)
    except ValidationError as error:
        told = error.errors(include_url=False, include_input=False)
        placed = [{**one, "loc": ("metadata", "rag", *one["loc"])} for one in told]
        raise RequestValidationError(placed) from error


def _plain(value: str) -> Any:
    """Return the number or truth value that a text stands for, or the text."""
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value
