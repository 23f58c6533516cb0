"""An answer is made: found in the cache, or written from the passages found."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace

from rag.runtime.context import until_s
from rag.runtime.fair_queue import FairQueue
from rag.runtime.tasks import cancel_all
from services.generator.caching.answers import AnswerCache
from services.generator.caching.entries import Entry, Looked
from services.generator.citing.checking import Checking
from services.generator.events import (
    CacheLayer,
    Citation,
    FinishReason,
    Notice,
    Source,
    Sources,
    Stage,
    Token,
)
from services.generator.parts import Begun, Part, Written, joined
from services.generator.prompting.prompt import Prompts
from services.generator.prompting.standalone import Rewritten, Standalone
from services.generator.question import Question
from services.generator.retrieval import Hit, Retriever
from services.generator.writing.chat import Finish
from services.generator.writing.failover import Providers
from services.generator.writing.pricing import Prices

NOTHING_FOUND = "Nothing relevant to this question was found in the documents."


@dataclass(frozen=True, slots=True)
class Found:
    """What the search brought, or the answer to a question of the same meaning."""

    sources: tuple[Source, ...]
    notices: tuple[Notice, ...]
    alike: Entry | None


class Making:
    """Makes answers.

    Args:
        retriever: Finds the passages.
        cache: Keeps what was written.
        prompts: Say what a model is given.
        standalone: Makes a question of a conversation one that can be searched for.
        providers: Write; each replaces the one before it when that fails before its first token.
        prices: Of their tokens.
        writers: Places for those that write at the same time; tenants take turns.
        clock: Seconds that never go back; that of the readers' watches.
    """

    def __init__(
        self,
        retriever: Retriever,
        cache: AnswerCache,
        *,
        prompts: Prompts,
        standalone: Standalone,
        providers: Providers,
        prices: Prices,
        writers: FairQueue,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._retriever = retriever
        self._prompts = prompts
        self._standalone = standalone
        self._providers = providers
        self._prices = prices
        self._writers = writers
        self._cache = cache
        self._clock = clock

    async def make(self, tenant: str, question: Question, looked: Looked | None) -> AsyncGenerator[Part]:
        """Yield the parts of an answer. Leaving the iterator ends the search or the model behind it.

        Args:
            tenant: Whose documents it is made from.
            question: What is asked.
            looked: What the cache knows before it is read; None to leave it aside.

        Raises:
            RagError: when the search fails, or when no model could answer to the end.
        """
        entry = await self._cache.recall(tenant, looked, question) if looked else None
        if entry:
            for part in _replayed(entry, CacheLayer.EXACT):
                yield part
            return
        rewritten = Rewritten(question.text)
        if question.history:
            yield Begun(Stage.REWRITING, self._clock())
            rewritten = await self._standalone.of(question)
        async with aclosing(self._searched(tenant, question, rewritten, looked)) as searched:
            async for step in searched:
                if isinstance(step, Begun):
                    yield step
                else:
                    found = step
        async with aclosing(self._answered(tenant, question, rewritten, found, looked)) as parts:
            async for part in parts:
                yield part

    async def _searched(
        self, tenant: str, question: Question, rewritten: Rewritten, looked: Looked | None
    ) -> AsyncGenerator[Begun | Found]:
        """Yield the stages of the search, then what was found, by it or by the cache beside it."""
        began: float | None = self._clock()  # the call itself is part of its first stage
        hits: list[Hit] = []
        notices = [rewritten.notice] if rewritten.notice else []
        alike = asyncio.create_task(self._alike(tenant, question, looked))
        try:
            async with aclosing(self._retriever.retrieve(replace(question, text=rewritten.text))) as found:
                async for item in found:
                    if isinstance(item, Hit):
                        hits.append(item)
                    elif isinstance(item, Notice):
                        notices.append(item)
                    else:
                        yield Begun(item, began or self._clock())
                        began = None
            entry = await alike
        finally:
            await cancel_all([alike])
        yield Found(self._prompts.select(hits), tuple(notices), entry)

    async def _alike(self, tenant: str, question: Question, looked: Looked | None) -> Entry | None:
        return await self._cache.recall_alike(tenant, looked, question) if looked else None

    async def _answered(
        self, tenant: str, question: Question, rewritten: Rewritten, found: Found, looked: Looked | None
    ) -> AsyncGenerator[Part]:
        if found.alike:
            for part in _replayed(found.alike, CacheLayer.SEMANTIC):
                yield part
            return
        yield Sources(found.sources)
        for notice in found.notices:
            yield notice
        if not found.sources:
            yield Token(NOTHING_FOUND)
            yield self._charged(Written(FinishReason.NO_CONTEXT, self._providers.first, ""), rewritten.finish)
            return
        yield Begun(Stage.GENERATION if self._providers.ask_models else Stage.EXTRACTION, self._clock())
        pieces: list[Token | Citation] = []
        is_whole = not found.notices
        async with aclosing(self._written(tenant, question, rewritten, found.sources)) as parts:
            async for part in parts:
                if isinstance(part, Token | Citation):
                    pieces.append(part)
                elif isinstance(part, Notice):
                    is_whole = False
                elif is_whole and looked:
                    entry = Entry(
                        rewritten.text,
                        found.sources,
                        tuple(joined(pieces)),
                        part.model,
                        part.provider,
                        part.reason,
                        part.checks,
                        looked.stamp,
                    )
                    await self._cache.keep(tenant, looked, question, entry)
                yield part

    async def _written(
        self, tenant: str, question: Question, rewritten: Rewritten, sources: tuple[Source, ...]
    ) -> AsyncGenerator[Token | Citation | Notice | Written]:
        """Yield what a model writes, checked, then its end; when it is the tenant's turn."""
        async with self._writers.place(tenant, until_s(0, 0)):
            checking = Checking(sources)
            prompt = self._prompts.render(question, rewritten.text, sources)
            async with aclosing(self._providers.stream(prompt)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, str):
                        for released in checking.feed(piece):
                            yield Token(released) if isinstance(released, str) else released
                    elif isinstance(piece, Notice):
                        yield piece
                    else:
                        finish = piece
            for released in checking.close():
                yield Token(released) if isinstance(released, str) else released
            written = Written(finish.reason, finish.provider, finish.model, checks=checking.checks())
            written.fallback_used = finish.provider != self._providers.first
            yield self._charged(written, finish, rewritten.finish)

    def _charged(self, written: Written, *finishes: Finish | None) -> Written:
        """Add the tokens of all models that were asked, and what they cost together."""
        costs: list[float | None] = []
        for finish in filter(None, finishes):
            written.input_tokens += finish.input_tokens
            written.output_tokens += finish.output_tokens
            written.cached_input_tokens += finish.cached_input_tokens
            written.estimated |= finish.estimated
            costs.append(self._prices.cost_usd(finish))
        known = [cost for cost in costs if cost is not None]
        written.cost_usd = sum(known) if len(known) == len(costs) else None
        return written


def _replayed(entry: Entry, layer: CacheLayer) -> Iterator[Part]:
    yield Sources(entry.sources)
    yield from entry.pieces
    yield Written(entry.reason, entry.provider, entry.model, layer, entry.checks)
