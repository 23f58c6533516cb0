"""Answers by quoting: the sentences of the sources that answer the question, each with its marker."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from rag.runtime.errors import Unavailable
from services.generator.events import FinishReason
from services.generator.extraction.extracts import extract
from services.generator.prompting.prompt import Prompt
from services.generator.writing.chat import EXTRACTIVE, Finish


class ExtractiveChat:
    """A ChatModel without a model: it needs no key, no network and no tokens."""

    provider = EXTRACTIVE
    model = "extractive"

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Finish]:
        """Yield one sentence at a time, best first."""
        extracts = extract(prompt.question, prompt.sources)
        if not extracts:
            raise Unavailable("The passages found hold no sentence to quote.", "NOTHING_TO_QUOTE")
        for position, found in enumerate(extracts):
            yield f"{' ' if position else ''}{found.text} [{found.number}]"
        yield Finish(FinishReason.STOP, self.provider, self.model, 0, 0, estimated=False, asked=self.model)
