"""A question becomes an answer: one stream of events, from accepted to done, timed for the one who asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing

from rag.ids import new_id
from rag.runtime.single_flight import SingleFlight
from rag.runtime.tasks import cancel_all
from services.generator import metrics
from services.generator.caching.answers import AnswerCache
from services.generator.caching.entries import Looked
from services.generator.events import (
    Accepted,
    CacheLayer,
    Done,
    Event,
    Sources,
    Stage,
    Token,
    Usage,
)
from services.generator.making import Making
from services.generator.parts import Begun, Part, Written, joined
from services.generator.question import Question
from services.generator.timing import Watch

_MOST_AHEAD = 256
"""How many pieces a model may be ahead of the fastest reader of its answer."""

Flights = SingleFlight[object, Part]


class Answering:
    """Answers questions; equal questions at the same time share one answer.

    Args:
        making: Makes the answers.
        cache: Knows the state of the documents, without which nothing is shared.
        clock: Seconds that never go back.
        new_answer_id: Makes a new id.
    """

    def __init__(
        self,
        making: Making,
        cache: AnswerCache,
        *,
        clock: Callable[[], float] = time.perf_counter,
        new_answer_id: Callable[[], str] = lambda: new_id("ans"),
    ) -> None:
        self._making = making
        self._cache = cache
        self._clock = clock
        self._new_answer_id = new_answer_id
        self._flights: Flights = SingleFlight(
            metrics.SHARED.inc, most_ahead=_MOST_AHEAD, repeatable=lambda part: isinstance(part, Begun)
        )

    async def answer(self, tenant: str, question: Question, request_id: str) -> AsyncGenerator[Event]:
        """Yield the events of an answer. The work behind it ends when the last of its readers leaves.

        Raises:
            RagError: when the search fails, or when no model could answer to the end.
        """
        with metrics.question() as outcome:
            watch = Watch(self._clock)
            yield Accepted(self._new_answer_id(), request_id)
            looked = None
            if question.use_cache:
                looking = asyncio.create_task(self._cache.begin(tenant, question))
                try:
                    yield watch.begin(Stage.CACHE)
                    looked = await looking
                finally:
                    await cancel_all([looking])
            async with aclosing(self._parts(tenant, question, looked)) as slices:
                async for parts in slices:
                    for event in _events(parts, watch):
                        if isinstance(event, Done):
                            outcome.name = event.finish_reason.value
                        yield event

    def _parts(self, tenant: str, question: Question, looked: Looked | None) -> AsyncGenerator[Sequence[Part]]:
        def start() -> AsyncGenerator[Part]:
            return self._making.make(tenant, question, looked)

        # Only those who have seen the same documents share: work that began before a change must not answer a later question.
        key: object = (tenant, looked.key, looked.stamp.state) if looked else object()
        return self._flights.slices(key, start)


def _events(parts: Sequence[Part], watch: Watch) -> Iterator[Event]:
    for part in joined(parts):
        if isinstance(part, Begun):
            yield watch.begin(part.stage, part.at)
        elif isinstance(part, Written):
            watch.end()
            usage = _usage(part, watch)
            metrics.observe(usage)
            yield usage
            yield Done(part.reason)
        else:
            if isinstance(part, Sources):
                watch.end()
            elif isinstance(part, Token) and watch.first_token_ms is None:
                watch.first_token()
            yield part


def _usage(written: Written, watch: Watch) -> Usage:
    """Return what an answer cost the one who takes it: its first reader is charged, the others share it for nothing."""
    is_shared = written.is_charged and written.layer is CacheLayer.NONE
    layer = CacheLayer.SHARED if is_shared else written.layer
    is_free = layer is not CacheLayer.NONE
    written.is_charged = True
    return Usage(
        input_tokens=0 if is_free else written.input_tokens,
        output_tokens=0 if is_free else written.output_tokens,
        estimated=written.estimated and not is_free,
        cost_usd=0.0 if is_free else written.cost_usd,
        model=written.model,
        provider=written.provider,
        stages=watch.stages(),
        first_token_ms=watch.first_token_ms,
        total_ms=watch.elapsed_ms(),
        cached_input_tokens=0 if is_free else written.cached_input_tokens,
        fallback_used=written.fallback_used,
        checks=written.checks,
        cache_layer=layer,
    )
