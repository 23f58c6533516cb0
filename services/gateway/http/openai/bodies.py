"""What OpenAI's clients send: what changes the answer is taken or refused by name, what does not is ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictStr, WithJsonSchema

from rag.runtime.errors import InvalidInput
from services.gateway.http.bodies import Int32, Number, Retrieval

_NO = False
_PARTS_SCHEMA = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["type", "text"],
        "properties": {"type": {"enum": ["text"]}, "text": {"type": "string"}},
    },
}


def _text(content: Any) -> Any:
    """Return the text of a message's content; None is what an assistant says who said nothing."""
    if content is None:
        return ""
    return "\n".join(map(_part, content)) if isinstance(content, list) else content


def _part(part: Any) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    value = part.get(kind) if kind in {"text", "refusal"} else None
    if not isinstance(value, str):
        message = "only text is taken: a string, or a list of parts of type text; images, audio and files are not"
        raise ValueError(message)  # noqa: TRY004 - pydantic reports it
    return value


Content = Annotated[
    StrictStr,
    BeforeValidator(_text),
    WithJsonSchema({"anyOf": [{"type": "string"}, _PARTS_SCHEMA, {"type": "null"}]}),
]


def _only(*values: Any, what: str) -> Any:
    """Return a field that may be given, but only with a value that asks for nothing."""
    return Field(None, description=what, json_schema_extra={"enum": [None, *values]})


class _Open(BaseModel):
    """A JSON object in which members that we do not know do no harm."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    def refuse_unsupported(self) -> None:
        """Refuse what would have to change the answer and cannot.

        Raises:
            InvalidInput: UNSUPPORTED_PARAMETER, with the parameter's name as `param`.
        """
        for name, field in type(self).model_fields.items():
            extra = field.json_schema_extra
            value = getattr(self, name)
            if isinstance(extra, dict) and isinstance(extra.get("enum"), list) and value not in extra["enum"]:  # type: ignore[operator]
                raise InvalidInput(f"{name}: {field.description}", "UNSUPPORTED_PARAMETER", param=name)


class MessageBody(_Open):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant"] = Field(description="Who speaks.")
    content: Content = Field("", description="What is said: a text, or a list of text parts, which become its lines.")


class StreamOptions(_Open):
    """What a stream carries beside the answer."""

    include_usage: StrictBool | None = Field(
        None, description="Send one more chunk before `[DONE]`, without choices, with the `usage`."
    )


class RagBody(Retrieval):
    """How the documents are searched. The official clients send it as `extra_body={"rag": {...}}`."""

    use_cache: StrictBool | None = Field(None, description="Whether the answer may come from the cache. Default true.")


_QUESTION: dict[str, Any] = {"role": "user", "content": "How do I rotate the keys?"}
_CONVERSATION: list[Any] = [
    _QUESTION,
    {"role": "assistant", "content": "Add the new key, restart, then remove the old one [1]."},
    {"role": "user", "content": "How often should I do that?"},
]


class ChatBody(_Open):
    """A conversation that ends with a question."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"model": "ragmesh", "messages": [_QUESTION]},
                {
                    "model": "ragmesh",
                    "messages": _CONVERSATION,
                    "stream": True,
                    "stream_options": {"include_usage": True},
                },
                {"model": "ragmesh", "messages": [_QUESTION], "rag": {"top_k": 5, "mode": "keyword"}},
                {"model": "ragmesh", "messages": [_QUESTION], "metadata": {"rag.filter.team": "ops"}},
            ]
        }
    )

    model: StrictStr = Field(description="One of the chat models of `GET /v1/models`.")
    messages: list[MessageBody] = Field(
        min_length=1,
        description="The conversation. Its last message is the question and must be the user's; the user's and assistant's "
        "messages before it are the history, of which the oldest are left out when it is too long. What system and "
        "developer messages say is not obeyed.",
    )
    stream: StrictBool | None = Field(None, description="Answer as server-sent events.")
    stream_options: StreamOptions | None = Field(None, description="Only with `stream`.")
    max_tokens: Int32 | None = Field(None, description="As `max_completion_tokens`, which wins.")
    max_completion_tokens: Int32 | None = Field(None, description="The longest answer in tokens: 1 to 8,192.")
    temperature: Number | None = Field(None, description="How freely the model words the answer: 0 to 2.")
    rag: RagBody | None = Field(None, description="How the documents are searched.")
    metadata: dict[str, StrictStr] | None = Field(
        None,
        description="For clients that cannot send `rag`: `rag.filter.<key>` looks only in documents whose metadata has "
        "this text under the key; `rag.top_k`, `rag.mode`, `rag.min_score` and `rag.use_cache` are as in `rag`, which "
        "wins. Other keys are ignored.",
    )
    n: Any = _only(1, what="There is one answer to a question, so only 1 is taken.")
    tools: Any = _only([], what="Tools are not called: answers come from the documents.")
    tool_choice: Any = _only("none", "auto", what="Tools are not called: answers come from the documents.")
    functions: Any = _only([], what="Functions are not called: answers come from the documents.")
    function_call: Any = _only("none", "auto", what="Functions are not called: answers come from the documents.")
    response_format: Any = _only({"type": "text"}, what="Answers are text, so only the type text is taken.")
    modalities: Any = _only(["text"], what="Answers are text, so only text is taken.")
    audio: Any = _only(what="Answers are text, not audio.")
    logprobs: Any = _only(_NO, what="Probabilities of tokens are not known.")
    top_logprobs: Any = _only(0, what="Probabilities of tokens are not known.")
    logit_bias: Any = _only({}, what="Tokens cannot be weighted.")
    stop: Any = _only("", [], what="Answers are not cut at a text; use max_completion_tokens.")
    web_search_options: Any = _only(what="The web is not searched: answers come from the documents.")


def _texts(value: Any) -> Any:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and any(isinstance(one, int | list) for one in value):
        message = "arrays of tokens are not taken: whose tokens they are is not known; send the texts themselves"
        raise ValueError(message)
    return value


Texts = Annotated[
    list[StrictStr],
    BeforeValidator(_texts),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class EmbeddingsBody(_Open):
    """Texts to embed."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "all-MiniLM-L6-v2", "input": ["Rotate the keys monthly.", "Why?"]}]}
    )

    model: StrictStr = Field(description="The embedding model of `GET /v1/models`.")
    input: Texts = Field(
        description="A text, or a list of 1 to 2,048 texts, none of them empty, 1 MiB together at most. Arrays of tokens "
        "are not taken."
    )
    encoding_format: Literal["float", "base64"] | None = Field(
        None, description="As a list of numbers (the default), or as base64 of little-endian float32."
    )
    dimensions: Int32 | None = Field(
        None,
        description="How many numbers a vector has. Only the model's own dimension is taken: it cannot be shortened.",
    )
