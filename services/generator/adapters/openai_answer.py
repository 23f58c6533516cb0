"""One answer of a chat completions stream, put together from its events."""

from __future__ import annotations

import json
import re
from typing import Any, TypeGuard

import orjson

from rag.runtime.errors import Unavailable
from services.generator.adapters.openai_errors import ModelServerError
from services.generator.events import FinishReason
from services.generator.prompting.prompt import Prompt
from services.generator.writing.chat import Finish

_SURROGATE = re.compile("[\ud800-\udfff]")
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_CHARACTERS_PER_TOKEN = 32
_MORE_CHARACTERS = 1_000
_MOST_TOKENS = 2**63


class OpenAIAnswer:
    """What came so far.

    Args:
        provider: Who runs the model.
        model: The model that was asked; the events may name a more exact one.
        prompt: What it was asked, to estimate the tokens when the server does not report them.
    """

    def __init__(self, provider: str, model: str, prompt: Prompt) -> None:
        self._provider = provider
        self._asked = self._model = model
        self._prompt = prompt
        self._reason: str | None = None
        self._usage: dict[str, Any] | None = None
        self._bytes = 0
        self._left = prompt.max_tokens * _CHARACTERS_PER_TOKEN + _MORE_CHARACTERS
        self._half = ""
        self.began = False

    @property
    def is_whole(self) -> bool:
        """Tell whether the model came to its end; what follows is its usage at most."""
        return self._reason is not None

    @property
    def is_too_long(self) -> bool:
        """Tell whether the model wrote far more than it was asked for, of which the rest is left out."""
        return self._left <= 0

    def take(self, events: list[bytes]) -> str:
        """Return the text that the events add together, often none.

        Raises:
            ModelServerError: when the server says that it failed.
            ValueError: when an event is none of chat completions.
        """
        text = "".join([self._delta(event) for event in events])
        if not text:
            return ""
        if self._half or not text.isascii():
            text = self._joined(text)
        text = text[: self._left]
        self._left -= len(text)
        self._bytes += len(text.encode())
        self.began = self.began or bool(text)
        return text

    def _delta(self, event: bytes) -> str:
        try:
            body = _parsed(event)
            if body.get("error"):
                raise ModelServerError
            if usage := body.get("usage"):
                self._usage = {**usage}
            if not (choices := body.get("choices")):
                return ""
            choice = choices[0]
            if reason := choice.get("finish_reason"):
                self._reason = "" + reason
            content = (choice.get("delta") or {}).get("content") or ""
            if content and not self.began:
                self._model = "" + (body.get("model") or self._model)
            return "" + content
        except (TypeError, AttributeError, KeyError) as error:
            raise ValueError("an event of another form") from error

    def finish(self) -> Finish:
        """Return the end of the answer.

        Raises:
            Unavailable: MODEL_STREAM_CUT when the stream ended before the answer did, MODEL_FILTERED when the server
                held it back, MODEL_EMPTY_ANSWER when there was no text.
        """
        if self.is_too_long:
            self._reason = "length"
        if self._reason is None:
            raise Unavailable("The language model stopped in the middle of the answer.", "MODEL_STREAM_CUT")
        if self._reason == "content_filter":
            raise Unavailable("The language model's server held the answer back.", "MODEL_FILTERED")
        if not self.began:
            raise Unavailable("The language model gave an empty answer.", "MODEL_EMPTY_ANSWER")
        reason = FinishReason.LENGTH if self._reason == "length" else FinishReason.STOP
        read, written, cached, estimated = self._tokens()
        return Finish(reason, self._provider, self._model, read, written, estimated, cached, self._asked)

    def _tokens(self) -> tuple[int, int, int, bool]:
        """Return the tokens read, written, and read from the server's cache, and whether they are only an upper bound."""
        usage = self._usage or {}
        read, written = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if not (_is_count(read) and _is_count(written)):
            return self._prompt.tokens_at_most(), self._bytes, 0, True
        details = usage.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, dict) else 0
        return read, written, min(cached, read) if _is_count(cached) else 0, False

    def _joined(self, text: str) -> str:
        """Join a character that the server sent in two halves; what is left of a broken one becomes U+FFFD."""
        if not self._half and not _SURROGATE.search(text):
            return text
        text = self._half + text
        self._half = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
        whole = text[:-1] if self._half else text
        return whole.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _parsed(event: bytes) -> Any:
    try:
        return orjson.loads(event)
    except orjson.JSONDecodeError:
        if not _HALF.search(event):
            raise
    # Half a character, which orjson refuses: its other half is in the next event.
    try:
        return json.loads(event)
    except RecursionError as error:
        raise ValueError("an event nested too deeply") from error


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < _MOST_TOKENS
