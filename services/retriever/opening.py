"""Opening the index: it waits for the embedder, because an index is made for one model."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from rag.runtime.errors import RagError
from rag.runtime.logs import get_logger
from services.retriever.passages import Model

_FORMAT = 1
"""Grows when the rows change their shape."""

Prepare = Callable[[], Awaitable[None]]

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Index:
    """One index: its collection, the model of its vectors, and how it makes words of texts."""

    collection: str
    model: Model
    analyzer: str


class ModelSource(Protocol):
    """Tells which model the embedder serves."""

    async def model(self) -> Model:
        """Return it; Unavailable while the embedder is away."""


class IndexRecord(Protocol):
    """Remembers which index the catalogue's documents are in."""

    async def record(self, index: Index) -> Index:
        """Record `index` when none is recorded yet; return the one that is."""


class OpenableIndex(Protocol):
    """The index, before and after it is open."""

    async def open(self, index: Index) -> None:
        """Make the collection when it is missing, and make it ready for searches."""


class Opening:
    """Opens the index once everything needed for it is there.

    Args:
        embedder: Tells the model to open the index for.
        record: Remembers which index it was.
        index: What is opened.
        analyzer: How words are made of texts.
        prepare: Done before anybody can write; repeating it does no harm.
    """

    def __init__(
        self, embedder: ModelSource, record: IndexRecord, index: OpenableIndex, analyzer: str, prepare: Prepare
    ) -> None:
        self._prepare = prepare
        self._embedder = embedder
        self._record = record
        self._index = index
        self._analyzer = analyzer
        self.is_done = False

    async def run(self, first_pause_s: float = 0.1, most_pause_s: float = 2.0) -> None:
        """Try until it works; each failure is logged with its reason once."""
        pause, told = first_pause_s, ""
        while not self.is_done:
            try:
                await self._open()
            except RagError as error:
                if error.reason != told:
                    log.info("index_not_open_yet", reason=error.reason, cause=repr(error.__cause__))
                told = error.reason
                await asyncio.sleep(pause)
                pause = min(pause * 2, most_pause_s)

    async def _open(self) -> None:
        await self._prepare()
        served = await self._embedder.model()
        index = await self._record.record(name_index(served, self._analyzer))
        if index.model != served:
            log.warning("model_differs_from_index", index=index.model.name, embedder=served.name)
        if index.analyzer != self._analyzer:
            log.warning("analyzer_differs_from_index", index=index.analyzer, wanted=self._analyzer)
        await self._index.open(index)
        self.is_done = True
        log.info("index_open", collection=index.collection)


def name_index(model: Model, analyzer: str) -> Index:
    """Return the index for a model; the collection's name holds all that its rows depend on."""
    words = (_slug(model.name)[:80], _slug(model.revision)[:8], str(model.dimension), _slug(analyzer))
    return Index("_".join((f"passages_v{_FORMAT}", *words)), model, analyzer)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
