"""Several models, one answer: a model that does not answer is replaced by the next, before its first token only."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from rag.runtime.breaker import Attempt, Breaker, State
from rag.runtime.context import remaining_s
from rag.runtime.errors import DeadlineExceeded, RagError, Unavailable
from rag.runtime.logs import get_logger
from services.generator import metrics
from services.generator.events import Notice
from services.generator.prompting.prompt import Prompt
from services.generator.writing.chat import EXTRACTIVE, ChatModel, Finish

log = get_logger(__name__)

_SHARE_OF_MODELS = 0.4
_SHARE_OF_EXTRACTION = 0.1
_MOST_OF_EXTRACTION_S = 0.5
# The request's own fault, which says nothing of who was asked. An empty answer may be one: few tokens allowed, all spent on thinking.
_OF_THE_REQUEST = {"MODEL_REFUSED", "MODEL_FILTERED", "MODEL_EMPTY_ANSWER"}


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a model may take, in seconds; the deadline of the call makes it shorter."""

    first_token_s: float = 20.0
    next_token_s: float = 15.0


@dataclass(frozen=True, slots=True)
class Provider:
    """A model, and the breaker that keeps it from being asked while it fails; None for one that needs no network."""

    model: ChatModel
    breaker: Breaker | None = None

    @property
    def is_extraction(self) -> bool:
        """Tell whether this one only quotes."""
        return self.model.provider == EXTRACTIVE

    def enter(self) -> Attempt | None:
        """Begin to ask; what comes back, if anything, is told how that ends.

        Raises:
            Unavailable: PROVIDER_PAUSED while it is left alone.
        """
        if self.breaker is None:
            return None
        if attempt := self.breaker.enter():
            return attempt
        raise Unavailable("The language model failed several times and is left alone for a while.", "PROVIDER_PAUSED")


class Providers:
    """Who writes answers, in the order in which they are asked.

    Args:
        providers: At least one; each takes over from the one before it.
        patience: How long each may take.
    """

    def __init__(self, providers: Sequence[Provider], patience: Patience) -> None:
        self._providers = tuple(providers)
        self._patience = patience

    @property
    def first(self) -> str:
        """The name of the one that is asked first."""
        return self._providers[0].model.provider

    @property
    def ask_models(self) -> bool:
        """Whether one of them does more than quote."""
        return not all(provider.is_extraction for provider in self._providers)

    @property
    def identity(self) -> tuple[str, ...]:
        """What an answer without a notice depends on: name and model of the one that is asked first."""
        model = self._providers[0].model
        return (f"{model.provider}:{model.model}",)

    def without_last_resort(self) -> Providers | None:
        """Return those that can write more than quotes, with the same breakers; None when there are none."""
        models = [provider for provider in self._providers if not provider.is_extraction]
        return Providers(models, self._patience) if models else None

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Finish | Notice]:
        """Yield the text and the Finish of the first model that answers, after a Notice for each that was replaced.

        Raises:
            RagError: when the last model fails, or any model after its first token: two never share an answer.
        """
        for position, provider in enumerate(self._providers):
            successors = self._providers[position + 1 :]
            began = False
            try:
                async with aclosing(self._guarded(provider, successors, prompt)) as pieces:
                    async for piece in pieces:
                        began = True
                        yield piece
            except RagError as error:
                if began or not successors:
                    raise
                notice = _replaced(provider, successors[0], error)
            else:
                return
            yield notice

    async def _guarded(
        self, provider: Provider, successors: Sequence[Provider], prompt: Prompt
    ) -> AsyncGenerator[str | Finish]:
        """Yield what a model writes; its breaker is told how that goes."""
        attempt = provider.enter()
        try:
            async with aclosing(self._timed(provider, attempt, successors, prompt)) as pieces:
                async for piece in pieces:
                    if attempt and isinstance(piece, Finish):
                        attempt.succeeded()
                    elif attempt:
                        attempt.answered()
                    yield piece
        except RagError as error:
            if attempt and error.reason not in _OF_THE_REQUEST:
                attempt.failed()
            raise
        finally:
            if attempt:
                attempt.abandoned()  # changes nothing unless its reader left, or the error was not its own

    async def _timed(
        self, provider: Provider, attempt: Attempt | None, successors: Sequence[Provider], prompt: Prompt
    ) -> AsyncGenerator[str | Finish]:
        """Yield what a model writes, until its Finish. Only the time in which its reader waits for it counts."""
        now = asyncio.get_running_loop().time
        left_s = remaining_s(math.inf)
        call_ends = now() + left_s
        fair_s = min(self._patience.first_token_s, provider.breaker.slow_s if provider.breaker else math.inf)
        wait_s = min(self._patience.first_token_s, left_s - _reserved_s(left_s, successors))
        async with aclosing(provider.model.stream(prompt)) as pieces:
            while True:
                try:
                    async with asyncio.timeout_at(now() + wait_s):
                        piece = await anext(pieces, None)
                except TimeoutError:
                    if attempt and wait_s < fair_s:
                        attempt.abandoned()  # the caller was in a hurry
                    raise DeadlineExceeded("The language model took too long.", "MODEL_TIMEOUT") from None
                if piece is None:
                    raise Unavailable("The language model stopped in the middle of the answer.", "MODEL_STREAM_CUT")
                yield piece
                if isinstance(piece, Finish):
                    return
                fair_s = self._patience.next_token_s
                wait_s = min(fair_s, call_ends - now())


def _reserved_s(left_s: float, successors: Sequence[Provider]) -> float:
    """Return how much of the time that is left a model leaves to those who may have to take over."""
    if left_s == math.inf or not successors:
        return 0.0
    if any(not one.is_extraction and not _is_paused(one) for one in successors):
        return _SHARE_OF_MODELS * left_s
    return min(_MOST_OF_EXTRACTION_S, _SHARE_OF_EXTRACTION * left_s)


def _is_paused(provider: Provider) -> bool:
    return provider.breaker is not None and provider.breaker.state is State.OPEN


def _replaced(provider: Provider, successor: Provider, error: RagError) -> Notice:
    metrics.FALLBACKS.labels(error.reason).inc()
    cause = type(error.__cause__).__name__ if error.__cause__ else ""
    by, replaced = successor.model.provider, provider.model.provider
    log.warning("model_replaced", by=by, provider=replaced, reason=error.reason, cause=cause)
    if successor.is_extraction:
        text = "The language model did not answer, so the answer is made of sentences of the documents."
        return Notice("FALLBACK_EXTRACTIVE", f"{text} Reason: {error.reason}.")
    return Notice(
        "FALLBACK_MODEL", f"The language model did not answer, so another one is asked. Reason: {error.reason}."
    )
