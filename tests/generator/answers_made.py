"""A catalogue that is one dictionary, a search over it by words, and answers made from what it finds."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from redis.asyncio import Redis
from redis.exceptions import RedisError

from rag.catalogue_state import changes_key, commits_key
from rag.passage import Passage
from rag.runtime.errors import RagError
from services.generator.adapters.redis_answers import RedisAnswers
from services.generator.caching.answers import AnswerCache
from services.generator.caching.entries import Entry, Looked, Stamp
from services.generator.caching.freshness import Check
from services.generator.events import Checks, Citation, FinishReason, Source, Token
from services.generator.question import Mode, Question

TOP = 2
MOST_TOLD = 1
"""Few, so that a short test sees what happens when there are more."""


def question(text: str, **fields) -> Question:
    defaults = {
        "top_k": TOP,
        "mode": Mode.HYBRID,
        "min_score": 0.25,
        "filter": b"",
        "max_tokens": 9,
        "temperature": 0.2,
    }
    return Question(text=text, **{**defaults, **fields})


def source(document_id: str, version: int, text: str, number: int = 1) -> Source:
    passage = Passage(
        id=f"{document_id}-{version}",
        document_id=document_id,
        version=version,
        ordinal=0,
        text=text,
        heading="A > B",
        page=1,
        char_start=0,
        char_end=len(text),
        token_count=3,
    )
    return Source(number, passage, f"Title of {document_id}", 0.5)


@dataclass
class Library:
    """Documents of one tenant; commits and deletions count as the real catalogue counts them.

    While it `is_degraded` its searches leave something out.
    """

    live: dict[str, tuple[int, str]] = field(default_factory=dict)
    committed_as: dict[str, int] = field(default_factory=dict)
    commits: int = 0
    changes: int = 0
    index: str = "index-1"
    error: RagError | None = None
    is_degraded: bool = False
    run: str = ""
    """Of the Redis in which the state is published."""
    checks: int = 0
    searches: int = 0

    def commit(self, document_id: str, text: str) -> None:
        self.commits += 1
        self.changes += 1
        self.live[document_id] = (self.changes, text)
        self.committed_as[document_id] = self.commits

    def delete(self, document_id: str) -> None:
        if self.live.pop(document_id, None):
            self.changes += 1

    def found(self, text: str) -> tuple[Source, ...]:
        """The documents that share the most words with a text, two at most."""
        words = set(text.split())
        ranked = sorted(
            (-len(words & set(content.split())), name, version, content)
            for name, (version, content) in self.live.items()
            if words & set(content.split())
        )
        return tuple(source(name, version, content, n) for n, (_, name, version, content) in enumerate(ranked[:TOP], 1))

    async def check(self, tenant: str, versions, since: int | None) -> Check:
        self.checks += 1
        if self.error:
            raise self.error
        gone = [one for one in versions if self.live.get(one[0], (0, ""))[0] != one[1]]
        newest = sorted(self.live, key=lambda name: -self.committed_as[name])
        told = [name for name in newest if since is not None and self.committed_as[name] > since]
        stamp = Stamp(self.index, f"{self.run}/{self.changes}", self.commits)
        return Check(stamp, gone, told[:MOST_TOLD], len(told) > MOST_TOLD)

    async def find(self, asked: Question) -> Sequence[Source] | None:
        self.searches += 1
        return None if self.is_degraded else self.found(asked.text)


class Room:
    """A cache of answers over a library and a real Redis."""

    def __init__(self, redis: Redis, tenant: str, library: Library | None = None, **options) -> None:
        self.redis, self.tenant, self.library = redis, tenant, library or Library()
        options = {"ground": lambda: ("prompt", "model"), "ttl_s": lambda _tenant: 600, **options}
        self.answers = RedisAnswers(redis, 3_600)
        self.cache = AnswerCache(self.library, self.answers, self.library.find, **options)

    async def begin(self, asked: Question) -> Looked | None:
        """Begin with the state of the library published, as the retriever does in the step that commits or deletes."""
        with contextlib.suppress(RedisError, OSError):
            self.library.run = self.library.run or (await self.redis.info("server"))["run_id"]
            state = {changes_key: self.library.changes, commits_key: self.library.commits}
            await self.redis.mset({key(self.tenant): count for key, count in state.items()})
        return await self.cache.begin(self.tenant, asked)

    async def recall(self, text: str, **fields) -> Entry | None:
        asked = question(text, **fields)
        looked = await self.begin(asked)
        return await self.cache.recall(self.tenant, looked, asked) if looked else None

    async def fill(self, text: str, **fields) -> Entry:
        async with self.filling(text, **fields) as entry:
            return entry

    @asynccontextmanager
    async def filling(
        self, text: str, before_search: Callable[[], object] = lambda: None, **fields
    ) -> AsyncIterator[Entry]:
        """Make an answer; it is kept when the block ends. `before_search` happens after the state was read."""
        asked = question(text, **fields)
        looked = await self.begin(asked)
        assert looked
        before_search()
        entry = made(self.library.found(text), looked, text)
        yield entry
        await self.cache.keep(self.tenant, looked, asked, entry)

    async def ask(self, text: str) -> tuple[tuple[str, ...], bool]:
        """The texts that an answer is made from, and whether it came from the cache."""
        entry = await self.recall(text)
        is_kept = entry is not None
        if entry is None:
            entry = await self.fill(text)
        return tuple(one.passage.text for one in entry.sources), is_kept

    async def kept_text(self) -> bytes:
        """All that Redis keeps of the tenant's answers."""
        keys = [key async for key in self.redis.scan_iter(f"rag:{self.tenant}:answer:*", 1_000)]
        return b"".join([part for key in keys for part in (await self.redis.hgetall(key)).values()])


def made(sources: tuple[Source, ...], looked: Looked, text: str) -> Entry:
    quote = sources[0].passage.text if sources else ""
    pieces = (Token("It is so"), Citation(1, "p", 1, 8, 11, quote, 0, len(quote), "d", 1, 0.5), Token(" [1]."))
    return Entry(text, sources, pieces, "m", "openai", FinishReason.STOP, Checks(1, 2, 3), looked.stamp)
