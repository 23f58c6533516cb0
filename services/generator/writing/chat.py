"""The port to what writes an answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from services.generator.events import FinishReason
from services.generator.prompting.prompt import Prompt

EXTRACTIVE = "extractive"
"""The provider that only quotes: the last resort, which is said wherever it writes."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a model's answer."""

    reason: FinishReason
    provider: str
    model: str
    """The model that wrote, as its server calls it."""
    input_tokens: int
    output_tokens: int
    estimated: bool
    """True when the server reported no tokens, and these are an upper bound."""
    cached_input_tokens: int = 0
    """Those of the input tokens that the server had cached."""
    asked: str = ""
    """The model that was asked, by the name in the settings: what its price is found by."""


class ChatModel(Protocol):
    """Writes answers."""

    @property
    def provider(self) -> str:
        """Who runs it: "openai", the name of a fallback, or "extractive"."""
        ...

    @property
    def model(self) -> str:
        """The model that is asked, by its name in the settings."""
        ...

    def stream(self, prompt: Prompt) -> AsyncGenerator[str | Finish]:
        """Yield pieces of text that are not empty, then one Finish.

        Leaving the iterator ends the work behind it. It has no timers: who reads it decides how long to wait. A failure raises a RagError, before or after the first piece; an
        answer without a Finish or without text is a failure.
        """
        ...
