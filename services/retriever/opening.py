"""Opening the index: it waits for the embedder, because an index is made for one model."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from rag.runtime.errors import FailedPrecondition, RagError
from rag.runtime.logs import get_logger
from services.retriever.passages import Model

_FORMAT = 2
"""Grows when the rows change their shape."""
_OURS = f"passages_v{_FORMAT}_"

COLLECTIONS = "passages_"
"""What the names of our collections begin with."""

Prepare = Callable[[], Awaitable[None]]

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Index:
    """One index: its collection, the model of its vectors, and how it makes words of texts."""

    collection: str
    model: Model
    analyzer: str
    generation: int = 1
    """Tells indexes apart that are alike in all else."""


class ModelSource(Protocol):
    """Tells which model the embedder serves."""

    async def model(self) -> Model:
        """Return it; Unavailable while the embedder is away."""


class IndexRecord(Protocol):
    """Remembers which index the catalogue's documents are in."""

    async def live(self) -> Index | None:
        """Return the live index, None before the first."""

    async def record(self, index: Index) -> Index:
        """Record `index` as live when none is recorded yet; return the one that is."""


class IndexOpener(Protocol):
    """Opens collections."""

    async def __call__(self, index: Index) -> None:
        """Make the collection when it is missing, make it ready for searches, and use it."""


class Opening:
    """Opens the index once everything needed for it is there.

    Args:
        embedder: Tells the model to open the index for.
        record: Remembers which index it was.
        open_index: Opens it.
        analyzer: How words are made of texts.
        prepare: Done before anybody can write; repeating it does no harm.
        report: Told why the index is not open yet.
    """

    def __init__(
        self,
        embedder: ModelSource,
        record: IndexRecord,
        open_index: IndexOpener,
        analyzer: str,
        prepare: Prepare,
        *,
        report: Callable[[RagError], None],
    ) -> None:
        self._prepare = prepare
        self._report = report
        self._embedder = embedder
        self._record = record
        self._open_index = open_index
        self._analyzer = analyzer
        self.is_done = False

    async def run(self, first_pause_s: float = 0.1, most_pause_s: float = 2.0) -> None:
        """Try until it works; each failure is logged with its reason once."""
        pause, told = first_pause_s, ""
        while not self.is_done:
            try:
                await self._open()
            except RagError as error:
                self._report(error)
                if error.reason != told:
                    log.info("index_not_open_yet", reason=error.reason, cause=repr(error.__cause__))
                told = error.reason
                await asyncio.sleep(pause)
                pause = min(pause * 2, most_pause_s)

    async def _open(self) -> None:
        await self._prepare()
        # Only a new index needs the embedder: which model one is of is written down.
        index = await self._record.live() or await self._record.record(
            name_index(await self._embedder.model(), self._analyzer)
        )
        if not index.collection.startswith(_OURS):
            raise _of_another_format(index)
        if index.analyzer != self._analyzer:
            log.warning("analyzer_differs_from_index", index=index.analyzer, wanted=self._analyzer)
        await self._open_index(index)
        self.is_done = True
        log.info("index_open", collection=index.collection)


def _of_another_format(index: Index) -> FailedPrecondition:
    message = (
        "The index was made by another release, which wrote it in another form; this one cannot read it. "
        "Start with an empty data folder and ingest the documents again, or go back to that release."
    )
    return FailedPrecondition(message, "INDEX_FORMAT", collection=index.collection)


def name_index(model: Model, analyzer: str, generation: int = 1) -> Index:
    """Return the index for a model; the collection's name holds all that its rows depend on.

    Args:
        model: Of the vectors.
        analyzer: How texts become words.
        generation: Tells indexes apart that are alike in all else.
    """
    whole = "\x1f".join((model.name, model.revision, str(model.dimension), analyzer, str(generation)))
    digest = hashlib.sha256(whole.encode()).hexdigest()[:12]
    return Index(f"{_OURS}{_slug(model.name)[:60]}_{_slug(analyzer)}_{digest}", model, analyzer, generation)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
