"""From a file to a live version of a document: read, split, embed, index, all at once with bounded queues between.

No stage holds the document: each passes its piece on and waits when the next one is busy.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rag.passage import Passage, in_context
from rag.runtime import failpoints
from rag.runtime.errors import Internal, InvalidInput
from rag.runtime.tasks import together
from services.ingestor.batches import Batches
from services.ingestor.busy import Shift
from services.ingestor.embedding import Embedded, Embedder, PatientEmbedder, RateLimits
from services.ingestor.estimate import seconds_left
from services.ingestor.fingerprint import fingerprint
from services.ingestor.indexing import Batch, Commit, PassageIndex, Target, Written
from services.ingestor.jobs import Progress, Upload
from services.ingestor.metrics import EXTRACT, INDEX, PAGES, PASSAGES, SPLIT
from services.ingestor.pages import DocumentReader, Opening, Page
from services.ingestor.slots import Slot
from services.ingestor.splitting import Origin, Sizes, Splitter, TokenCounter

_PAGES_AHEAD = 4
_PARTS_AHEAD = 2
_EMBED_CALLS = 3
"""Enough that one is always at the model while another's answer travels."""


@dataclass(frozen=True, slots=True)
class Observer:
    """Who follows a run: `progress` hears of changes, `trouble` of what is waited out, `before_commit` may still stop it by raising."""

    progress: Callable[[Progress], None]
    trouble: Callable[[Exception], None]
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
    """One run over one document. Make a new one for each.

    Args:
        stages: What it works with.
        upload: What is indexed.
        fence: The lease's.
        path: The upload's bytes.
        observer: Who follows.
        slot: The document's place among those at work.
        clock: Seconds.
    """

    def __init__(
        self,
        stages: Stages,
        upload: Upload,
        fence: int,
        path: Path,
        *,
        observer: Observer,
        slot: Slot,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stages = stages
        self._upload = upload
        self._fence = fence
        self._path = path
        self._observer = observer
        self._slot = slot
        self._clock = clock
        self._began = clock()
        self._progress = Progress()
        self._opening = Opening()
        self._page_split = 0
        self._is_split = False
        self._embedder = PatientEmbedder(stages.embedder, upload.document_id, self._limited, observer.trouble)
        self._pages: asyncio.Queue[Page | None] = asyncio.Queue(_PAGES_AHEAD)
        self._batches = Batches(stages.batch_tokens)
        self._taking = asyncio.Lock()
        self._delivered = _set_event()
        self._parts: asyncio.Queue[Batch | Commit] = asyncio.Queue(_PARTS_AHEAD)
        self._writing = Shift(INDEX)
        self._target: asyncio.Future[Target] = asyncio.get_running_loop().create_future()

    async def run(self) -> int:
        """Index the document and return its version. The first error of a stage stops the others and is raised."""
        *_, version = await together(self._extract(), self._split(), self._embed(), self._index())
        return int(version)

    @property
    def _title(self) -> str:
        """Known once the document is open, and so before its first page."""
        return self._upload.title or self._opening.title

    async def _extract(self) -> None:
        upload = self._upload
        async with self._stages.reader.read(self._path, upload.media_type, upload.password) as items:
            while (item := await self._read(items)) is not None:
                if isinstance(item, Opening):
                    self._opening = item
                    self._count(pages_total=item.pages_total)
                else:
                    await self._pages.put(item)
                    self._count_page(item)
        failpoints.reach("document_extracted")
        await self._pages.put(None)

    def _count_page(self, page: Page) -> None:
        if page.number and not page.continues:
            PAGES.inc()
            self._count(pages_done=page.number, pages_skipped=self._progress.pages_skipped + page.skipped)

    async def _read(self, items: AsyncIterator[Opening | Page]) -> Opening | Page | None:
        with EXTRACT.running():
            return await self._slot.patiently(_next(items))

    async def _split(self) -> None:
        splitter: Splitter | None = None
        while (page := await self._pages.get()) is not None:
            splitter = splitter or self._splitter()
            with SPLIT.running():
                # The tokenizer is native code that lets other threads run.
                passages = await asyncio.to_thread(splitter.cut, page)
            self._page_split = page.number
            self._count(passages=self._progress.passages + len(passages))
            for passage in passages:
                await self._batches.put(passage)
        self._is_split = True
        await self._batches.end()

    def _splitter(self) -> Splitter:
        upload, stages = self._upload, self._stages
        origin = Origin(upload.tenant, upload.document_id, upload.content_hash)
        return Splitter(origin, stages.counter, stages.sizes, self._title)

    async def _embed(self) -> None:
        await together(*(self._embed_batches() for _ in range(_EMBED_CALLS)))
        if not self._progress.passages:
            raise InvalidInput("The document holds no text.", "NO_TEXT")
        await self._observer.before_commit()
        failpoints.reach("version_committing")
        await self._parts.put(Commit(self._progress.passages, self._progress.pages_total, self._title))

    async def _embed_batches(self) -> None:
        """One of a few that embed at once. Each hands its batch on after the one that was taken before it."""
        while True:
            async with self._taking:
                passages = await self._batches.take()
                before, self._delivered = self._delivered, asyncio.Event()
                delivered = self._delivered
            if not passages:
                return
            embedded = await self._embedder.embed([in_context(self._title, one.heading, one.text) for one in passages])
            await self._batches.done()
            failpoints.reach("batch_embedded")
            await before.wait()
            await self._deliver(passages, embedded)
            delivered.set()

    async def _deliver(self, passages: list[Passage], embedded: Embedded) -> None:
        self._settle_target(embedded)
        progress = self._progress
        self._count(
            vectors_cached=progress.vectors_cached + embedded.cached,
            vectors_computed=progress.vectors_computed + embedded.computed,
        )
        await self._parts.put(Batch(passages, embedded.vectors))

    def _settle_target(self, embedded: Embedded) -> None:
        target = Target(
            upload=self._upload,
            fence=self._fence,
            fingerprint=fingerprint(self._upload, self._stages.sizes),
            media_type=self._opening.media_type or self._upload.media_type,
            found=self._opening.metadata,
            title=self._title,
            model=embedded.model,
            revision=embedded.revision,
            dimension=embedded.vectors.shape[1],
        )
        if not self._target.done():
            self._target.set_result(target)
        elif self._target.result() != target:
            raise Internal("The embedding model changed during the work.", "MODEL_CHANGED")

    async def _index(self) -> int:
        target = await self._target
        version = 0
        async with aclosing(self._stages.index.write(target, self._parts_to_commit())) as answers:
            with closing(self._writing):
                async for written in answers:
                    version = written.version
                    self._acknowledge(written)
        if not version:
            raise Internal("The index ended without a commit.", "INDEX_NOT_COMMITTED")
        return version

    def _acknowledge(self, written: Written) -> None:
        self._writing.end_one()
        PASSAGES.inc(max(0, written.passages - self._progress.passages_indexed))
        self._count(passages_indexed=written.passages)
        if not written.version:
            failpoints.reach("batch_indexed")

    async def _parts_to_commit(self) -> AsyncIterator[Batch | Commit]:
        # It never raises: what goes wrong in the stages before cancels the task that reads here.
        while True:
            part = await self._parts.get()
            self._writing.begin_one()
            yield part
            if isinstance(part, Commit):
                return

    def _limited(self, limits: RateLimits) -> None:
        self._count(rate_limit_waits=limits.waits, rate_limit_wait_s=limits.seconds)

    def _count(self, **changes: Any) -> None:
        progress = replace(self._progress, **changes)
        left_s = seconds_left(progress, self._page_split, self._clock() - self._began, is_split=self._is_split)
        self._progress = replace(progress, seconds_left=left_s)
        self._observer.progress(self._progress)


async def _next(items: AsyncIterator[Opening | Page]) -> Opening | Page | None:
    return await anext(items, None)


def _set_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event
