"""The port to what writes an answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from services.generator.events import FinishReason
from services.generator.prompt import Prompt


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


class ChatModel(Protocol):
    """Writes answers."""

    @property
    def provider(self) -> str:
        """Who runs it: "openai" or "extractive"."""
        ...

    def stream(self, prompt: Prompt) -> AsyncGenerator[str | Finish]:
        """Yield pieces of text that are not empty, then one Finish.

        Leaving the iterator ends the work behind it. A failure raises a RagError, before or after the first piece; an
        answer without a Finish or without text is a failure.
        """
        ...
