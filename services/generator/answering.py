"""A question becomes an answer: one stream of events, from accepted to done."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from rag.ids import new_id
from services.generator import failover, metrics, prompt
from services.generator.chat import ChatModel, Finish
from services.generator.citations import CitationChecker
from services.generator.events import (
    Accepted,
    Citation,
    Done,
    Event,
    FinishReason,
    Notice,
    Source,
    Sources,
    Stage,
    Token,
    Usage,
)
from services.generator.question import Question
from services.generator.retrieval import Hit, Retriever
from services.generator.timing import Watch

NOTHING_FOUND = "Nothing relevant to this question was found in the documents."


@dataclass(frozen=True, slots=True)
class Prices:
    """What a million tokens cost in US dollars; None when it is not known."""

    input_usd_per_mtok: float | None = None
    output_usd_per_mtok: float | None = None

    def cost_usd(self, finish: Finish) -> float | None:
        """Return what an answer cost; nothing when no tokens were used."""
        if finish.input_tokens == finish.output_tokens == 0:
            return 0.0
        if self.input_usd_per_mtok is None or self.output_usd_per_mtok is None:
            return None
        return (
            finish.input_tokens * self.input_usd_per_mtok + finish.output_tokens * self.output_usd_per_mtok
        ) / 1_000_000


class Answering:
    """Answers questions.

    Args:
        retriever: Finds the passages.
        models: Write the answer; each replaces the one before it when that fails before its first token.
        prices: Of the models' tokens.
        budget_tokens: How many tokens of passages a prompt holds.
        clock: Seconds that never go back.
        new_answer_id: Makes a new id.
    """

    def __init__(
        self,
        retriever: Retriever,
        models: Sequence[ChatModel],
        prices: Prices,
        budget_tokens: int,
        *,
        clock: Callable[[], float] = time.perf_counter,
        new_answer_id: Callable[[], str] = lambda: new_id("ans"),
    ) -> None:
        self._retriever = retriever
        self._models = models
        self._prices = prices
        self._budget_tokens = budget_tokens
        self._clock = clock
        self._new_answer_id = new_answer_id

    async def answer(self, question: Question, request_id: str) -> AsyncGenerator[Event]:
        """Yield the events of an answer. Leaving the iterator ends the search or the model behind it.

        Raises:
            RagError: when the search fails, or when no model could answer to the end.
        """
        with metrics.question() as outcome:
            watch = Watch(self._clock)
            yield Accepted(self._new_answer_id(), request_id)
            hits: list[Hit] = []
            notices: list[Notice] = []
            async with aclosing(self._retriever.retrieve(question)) as found:
                async for item in found:
                    if isinstance(item, Hit):
                        hits.append(item)
                    elif isinstance(item, Notice):
                        notices.append(item)
                    else:
                        yield watch.begin(item)
            watch.end()
            sources = prompt.select(hits, self._budget_tokens)
            yield Sources(sources)
            for notice in notices:
                yield notice
            async with aclosing(self._write(question, sources, watch)) as events:
                async for event in events:
                    if isinstance(event, Done):
                        outcome.name = event.finish_reason.value
                    yield event

    async def _write(self, question: Question, sources: tuple[Source, ...], watch: Watch) -> AsyncGenerator[Event]:
        if not sources:
            for event in self._nothing_found(watch):
                yield event
            return
        yield watch.begin(Stage.GENERATION)
        asked = prompt.render(question.text, sources, question.max_tokens, question.temperature)
        checker = CitationChecker(sources)
        async with aclosing(failover.stream(self._models, asked)) as pieces:
            async for piece in pieces:
                if isinstance(piece, str):
                    for event in _events(checker.feed(piece), watch):
                        yield event
                elif isinstance(piece, Notice):
                    yield piece
                else:
                    finish = piece
        for event in _events(checker.close(), watch):
            yield event
        for event in self._end(finish, watch, checker.dropped):
            yield event

    def _nothing_found(self, watch: Watch) -> Iterator[Event]:
        watch.first_token()
        yield Token(NOTHING_FOUND)
        finish = Finish(FinishReason.NO_CONTEXT, self._models[0].provider, "", 0, 0, estimated=False)
        yield from self._end(finish, watch, 0)

    def _end(self, finish: Finish, watch: Watch, dropped_markers: int) -> Iterator[Event]:
        watch.end()
        usage = Usage(
            input_tokens=finish.input_tokens,
            output_tokens=finish.output_tokens,
            estimated=finish.estimated,
            cost_usd=self._prices.cost_usd(finish),
            model=finish.model,
            provider=finish.provider,
            stages=watch.stages(),
            first_token_ms=watch.first_token_ms,
            total_ms=watch.elapsed_ms(),
        )
        metrics.observe(usage, dropped_markers)
        yield usage
        yield Done(finish.reason)


def _events(released: list[str | Citation], watch: Watch) -> Iterator[Token | Citation]:
    for piece in released:
        if isinstance(piece, Citation):
            yield piece
        else:
            if watch.first_token_ms is None:
                watch.first_token()
            yield Token(piece)
