"""Several models, one answer: a model that fails before its first token is replaced by the next."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from rag.runtime.errors import RagError
from rag.runtime.logs import get_logger
from services.generator import metrics
from services.generator.chat import ChatModel, Finish
from services.generator.events import Notice
from services.generator.prompt import Prompt

log = get_logger(__name__)


async def stream(models: Sequence[ChatModel], prompt: Prompt) -> AsyncGenerator[str | Finish | Notice]:
    """Yield the text and the Finish of the first model that answers, after a Notice for each that was replaced.

    Raises:
        RagError: when the last model fails, or any model after its first token: two never share an answer.
    """
    for model, successor in zip(models, (*models[1:], None), strict=True):
        began = False
        try:
            async with aclosing(model.stream(prompt)) as pieces:
                async for piece in pieces:
                    began = True
                    yield piece
        except RagError as error:
            if began or successor is None:
                raise
            metrics.FALLBACKS.labels(error.reason).inc()
            cause = type(error.__cause__).__name__
            log.warning(
                "model_replaced", by=successor.provider, provider=model.provider, reason=error.reason, cause=cause
            )
            notice = _replaced(successor, error)
        else:
            return
        yield notice


def _replaced(successor: ChatModel, error: RagError) -> Notice:
    if successor.provider == "extractive":
        text = "The language model did not answer, so the answer is made of sentences of the documents."
    else:
        text = "The language model did not answer, so another one did."
    return Notice(f"FALLBACK_{successor.provider.upper()}", f"{text} Reason: {error.reason}.")
