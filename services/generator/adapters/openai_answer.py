"""One answer of a chat completions stream, put together from its chunks."""

from __future__ import annotations

import re

from openai.types.chat import ChatCompletionChunk

from rag.runtime.errors import Unavailable
from services.generator.chat import Finish
from services.generator.events import FinishReason
from services.generator.prompt import Prompt, tokens_at_most

_SURROGATE = re.compile("[\ud800-\udfff]")


class OpenAIAnswer:
    """What came so far.

    Args:
        model: The model that was asked; the chunks may name a more exact one.
        prompt: What it was asked, to estimate the tokens when the server does not report them.
    """

    def __init__(self, model: str, prompt: Prompt) -> None:
        self._model = model
        self._prompt = prompt
        self._reason: str | None = None
        self._tokens: tuple[int, int] | None = None
        self._bytes = 0
        self._half = ""
        self.began = False

    def take(self, chunk: ChatCompletionChunk) -> str:
        """Return the text that the chunk adds, often none.

        Raises:
            ValueError: when the chunk is none of chat completions.
        """
        if chunk.usage:
            self._tokens = chunk.usage.prompt_tokens, chunk.usage.completion_tokens
        if not chunk.choices:
            return ""
        choice = chunk.choices[0]
        self._reason = choice.finish_reason or self._reason
        content = choice.delta.content if choice.delta else None
        if not content:
            return ""
        if not isinstance(content, str):
            raise ValueError("a delta whose content is not text")  # noqa: TRY004 - one error for all that is unreadable
        self._model = chunk.model or self._model
        text = content if content.isascii() and not self._half else self._whole(content)
        self._bytes += len(text.encode())
        self.began = self.began or bool(text)
        return text

    def finish(self) -> Finish:
        """Return the end of the answer.

        Raises:
            Unavailable: MODEL_STREAM_CUT when the stream ended before the answer did, MODEL_FILTERED when the server
                held it back, MODEL_EMPTY_ANSWER when there was no text.
        """
        if self._reason is None:
            raise Unavailable("The language model stopped in the middle of the answer.", "MODEL_STREAM_CUT")
        if self._reason == "content_filter":
            raise Unavailable("The language model's server held the answer back.", "MODEL_FILTERED")
        if not self.began:
            raise Unavailable("The language model gave an empty answer.", "MODEL_EMPTY_ANSWER")
        reason = FinishReason.LENGTH if self._reason == "length" else FinishReason.STOP
        tokens = self._tokens or self._at_most()
        return Finish(reason, "openai", self._model, *tokens, estimated=self._tokens is None)

    def _at_most(self) -> tuple[int, int]:
        asked = tokens_at_most(self._prompt.system) + tokens_at_most(self._prompt.user)
        return asked, -(-self._bytes // 3)

    def _whole(self, content: str) -> str:
        """Join a character that the server sent in two halves; what is left of a broken one becomes U+FFFD."""
        if not self._half and not _SURROGATE.search(content):
            return content
        text = self._half + content
        self._half = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
        whole = text[:-1] if self._half else text
        return whole.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
