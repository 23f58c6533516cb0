"""From a file to a live version of a document: read, split, embed, index, all at once with bounded queues between.

No stage holds the document: each passes its piece on and waits when the next one is busy.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from rag.passage import Passage
from rag.runtime.errors import Internal, InvalidInput
from rag.runtime.tasks import together
from rag.vectors import Vectors
from services.ingestor.jobs import Progress, Upload
from services.ingestor.metrics import PAGES, PASSAGES
from services.ingestor.pages import DocumentReader, Opening, Page
from services.ingestor.splitting import Origin, Sizes, Splitter, TokenCounter

_PAGES_AHEAD = 4
_BATCHES_AHEAD = 2
_BATCH_PASSAGES = 64
_BATCH_CHARS = 131_072
"""Keeps a request under a megabyte, whatever the script."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors of shape (texts, dimension) and where they came from."""

    vectors: Vectors
    model: str
    revision: str
    cached: int
    computed: int


class Embedder(Protocol):
    """Turns texts into vectors of one model."""

    async def embed(self, texts: Sequence[str]) -> Embedded:
        """One vector per text, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """The version that is written, and the model whose vectors it holds."""

    upload: Upload
    model: str
    revision: str
    dimension: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Passages with one vector each."""

    passages: Sequence[Passage]
    vectors: Vectors


@dataclass(frozen=True, slots=True)
class Commit:
    """The end of a version: it becomes live."""

    passage_count: int
    page_count: int
    title: str


@dataclass(frozen=True, slots=True)
class Written:
    """How many passages are written; `version` is 0 until they are live."""

    passages: int
    version: int = 0


class PassageIndex(Protocol):
    """Writes versions of documents. Nothing is visible before the commit, and without one nothing stays."""

    def write(self, target: Target, parts: AsyncIterator[Batch | Commit]) -> AsyncGenerator[Written, None]:
        """Write the parts as they come; the last one is a `Commit`, the last answer holds the version."""
        ...


@dataclass(frozen=True, slots=True)
class Observer:
    """Who follows a run: `progress` hears of every change, `before_commit` may still stop it by raising."""

    progress: Callable[[Progress], None]
    before_commit: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Stages:
    """The adapters a run works with."""

    reader: DocumentReader
    counter: TokenCounter
    embedder: Embedder
    index: PassageIndex
    sizes: Sizes = field(default_factory=Sizes)
    batch_tokens: int = 4096


class Pipeline:
    """One run over one document. Make a new one for each."""

    def __init__(self, stages: Stages, upload: Upload, path: Path, observer: Observer) -> None:
        self._stages = stages
        self._upload = upload
        self._path = path
        self._observer = observer
        self._progress = Progress()
        self._title = upload.title
        self._pages: asyncio.Queue[Page | None] = asyncio.Queue(_PAGES_AHEAD)
        self._batches: asyncio.Queue[list[Passage] | None] = asyncio.Queue(_BATCHES_AHEAD)
        self._parts: asyncio.Queue[Batch | Commit] = asyncio.Queue(_BATCHES_AHEAD)
        self._target: asyncio.Future[Target] = asyncio.get_running_loop().create_future()

    async def run(self) -> int:
        """Index the document and return its version. The first error of a stage stops the others and is raised."""
        *_, version = await together(self._extract(), self._split(), self._embed(), self._index())
        return int(version)

    async def _extract(self) -> None:
        async with self._stages.reader.read(self._path, self._upload.media_type) as items:
            async for item in items:
                if isinstance(item, Opening):
                    self._title = self._title or item.title
                    self._count(pages_total=item.pages_total)
                    continue
                await self._pages.put(item)
                if item.number and not item.continues:
                    PAGES.inc()
                    skipped = self._progress.pages_skipped + item.skipped
                    self._count(pages_done=item.number, pages_skipped=skipped)
        await self._pages.put(None)

    async def _split(self) -> None:
        upload = self._upload
        origin = Origin(upload.tenant, upload.document_id, upload.content_hash)
        splitter = Splitter(origin, self._stages.counter, self._stages.sizes)
        batch = _Filling(self._stages.batch_tokens)
        while (page := await self._pages.get()) is not None:
            # The tokenizer is native code that lets other threads run.
            passages = await asyncio.to_thread(splitter.cut, page)
            for passage in passages:
                if batch.is_full_for(passage):
                    await self._batches.put(batch.take())
                batch.add(passage)
            self._count(passages=self._progress.passages + len(passages))
        if batch.passages:
            await self._batches.put(batch.take())
        await self._batches.put(None)

    async def _embed(self) -> None:
        while (passages := await self._batches.get()) is not None:
            embedded = await self._stages.embedder.embed([passage.text for passage in passages])
            self._settle_target(embedded)
            progress = self._progress
            self._count(
                vectors_cached=progress.vectors_cached + embedded.cached,
                vectors_computed=progress.vectors_computed + embedded.computed,
            )
            await self._parts.put(Batch(passages, embedded.vectors))
        if not self._progress.passages:
            raise InvalidInput("The document holds no text.", "NO_TEXT")
        await self._observer.before_commit()
        await self._parts.put(Commit(self._progress.passages, self._progress.pages_total, self._title))

    def _settle_target(self, embedded: Embedded) -> None:
        target = Target(self._upload, embedded.model, embedded.revision, embedded.vectors.shape[1])
        if not self._target.done():
            self._target.set_result(target)
        elif self._target.result() != target:
            raise Internal("The embedding model changed during the work.", "MODEL_CHANGED")

    async def _index(self) -> int:
        target = await self._target
        version = 0
        async with aclosing(self._stages.index.write(target, self._parts_to_commit())) as answers:
            async for written in answers:
                version = written.version
                PASSAGES.inc(max(0, written.passages - self._progress.passages_indexed))
                self._count(passages_indexed=written.passages)
        if not version:
            raise Internal("The index ended without a commit.", "INDEX_NOT_COMMITTED")
        return version

    async def _parts_to_commit(self) -> AsyncIterator[Batch | Commit]:
        # It never raises: what goes wrong in the stages before cancels the task that reads here.
        while True:
            part = await self._parts.get()
            yield part
            if isinstance(part, Commit):
                return

    def _count(self, **changes: int) -> None:
        self._progress = replace(self._progress, **changes)
        self._observer.progress(self._progress)


@dataclass(slots=True)
class _Filling:
    """A batch being filled up to a number of tokens."""

    max_tokens: int
    passages: list[Passage] = field(default_factory=list)
    tokens: int = 0
    chars: int = 0

    def is_full_for(self, passage: Passage) -> bool:
        return bool(self.passages) and (
            self.tokens + passage.token_count > self.max_tokens
            or self.chars + len(passage.text) > _BATCH_CHARS
            or len(self.passages) >= _BATCH_PASSAGES
        )

    def add(self, passage: Passage) -> None:
        self.passages.append(passage)
        self.tokens += passage.token_count
        self.chars += len(passage.text)

    def take(self) -> list[Passage]:
        passages, self.passages, self.tokens, self.chars = self.passages, [], 0, 0
        return passages
