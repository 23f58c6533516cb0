"""Texts to vectors: from a cache when they are known, from the model when not, as one stream in the texts' order."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter, deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np

from rag.runtime.errors import InvalidInput, RagError
from rag.runtime.logs import get_logger
from rag.vectors import Vectors
from services.embedder import metrics
from services.embedder.batching import Batcher
from services.embedder.caching import Caches, Document
from services.embedder.model import Model, ModelInfo, Piece
from services.embedder.tickets import Ticket

MAX_TEXTS = 2_048
MAX_BYTES = 1 << 20
_BATCH_BYTES = 900 << 10  # a message stays under 1 MiB with room for its other fields

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Usage:
    """Where the vectors of a batch came from and what they cost."""

    tokens: int
    from_memory: int
    from_redis: int
    computed: int
    truncated: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Vectors of the texts from `offset` on."""

    offset: int
    vectors: Vectors
    """Shape (texts, dimension), C order, each of length 1 (L2)."""
    model: ModelInfo
    usage: Usage


@dataclass(frozen=True, slots=True)
class _Window:
    """A part of the request on its way: some vectors found, the others at work in the model."""

    offset: int
    keys: Sequence[str]
    found: dict[str, Vectors]
    from_redis: int
    pieces: Mapping[str, Piece]
    """Those at work, by key."""
    ticket: Ticket | None


class Embedding:
    """The embedder's one act.

    Args:
        model: Computes vectors.
        batcher: Runs the model for all callers.
        caches: What is known; the batcher adds to it.
        batch_texts: The most texts in one batch of an answer.
    """

    def __init__(self, model: Model, batcher: Batcher, caches: Caches, batch_texts: int = 128) -> None:
        self._model = model
        self._batcher = batcher
        self._caches = caches
        self._batch_texts = batch_texts
        self._answered = False

    async def describe(self) -> ModelInfo:
        """Return what the model is."""
        return await self._model.describe()

    async def is_ready(self) -> bool:
        """Tell whether the model answers; tries one text until it has. The caches do not count: they may be missed."""
        if not self._answered:
            try:
                await self._model.encode(await self._model.prepare(["Are you there?"]))
            except RagError as error:
                log.warning("model_not_ready", reason=error.reason, error=error.message)
                return False
            self._answered = True
        return True

    async def forget(self, document: Document) -> int:
        """Drop the cached vectors of a document's texts; return how many.

        Other processes have them in memory for less than a minute more.

        Raises:
            Unavailable: some may be left; repeating it drops them.
        """
        return await self._caches.forget(document)

    async def embed(
        self, texts: Sequence[str], document: Document | None = None, tenant: str = ""
    ) -> AsyncGenerator[Batch]:
        """Yield the vectors of the texts in order, a batch as soon as it is whole.

        The next batch is looked up and queued while one is at work, so the model does not wait for the caches.

        Args:
            texts: What to embed.
            document: Whose texts they are, so that `forget` finds them.
            tenant: Who asks; tenants share the model.

        Raises:
            InvalidInput: NO_TEXTS, TOO_MANY_TEXTS, EMPTY_TEXT, TEXTS_TOO_LARGE.
            Overloaded: EMBEDDER_BUSY; before the first batch only.
            RagError: what the model raises.
        """
        check_texts(texts)
        info = await self._model.describe()
        # The key is made of the normalised text, so the model must see that text too: same key, same vector.
        normal = [unicodedata.normalize("NFC", text) for text in texts]
        keys = [vector_key(info, text) for text in normal]
        repeated = {key for key, times in Counter(keys).items() if times > 1}
        known: dict[str, Vectors] = {}
        flight: deque[_Window] = deque()
        seen: set[str] = set()
        try:
            for part in _parts(len(texts), self._batch_size(info)):
                fresh = {key: text for key, text in zip(keys[part], normal[part], strict=True) if key not in seen}
                seen.update(fresh)
                flight.append(await self._launch(info, part.start, keys[part], fresh, document, tenant=tenant))
                if len(flight) > 1:
                    yield await self._land(info, flight.popleft(), repeated, known)
            while flight:
                yield await self._land(info, flight.popleft(), repeated, known)
        finally:
            for window in flight:
                if window.ticket is not None:
                    window.ticket.leave()

    def _batch_size(self, info: ModelInfo) -> int:
        return max(1, min(self._batch_texts, _BATCH_BYTES // (4 * info.dimension)))

    async def _launch(
        self,
        info: ModelInfo,
        offset: int,
        keys: Sequence[str],
        fresh: Mapping[str, str],
        document: Document | None,
        *,
        tenant: str,
    ) -> _Window:
        known = await self._caches.look_up(list(fresh), info.dimension, document)
        missing = [key for key in fresh if key not in known.vectors]
        prepared = await self._model.prepare([fresh[key] for key in missing]) if missing else []
        # Looked up once more, and nothing happens from here to the submission: what was on its way through the model
        # meanwhile is known now, and what still is gets joined. So nothing is computed twice.
        late = self._caches.remembered(missing, info.dimension)
        pieces = {key: piece for key, piece in zip(missing, prepared, strict=True) if key not in late}
        ticket = self._batcher.submit(pieces, document, begun=bool(offset), tenant=tenant) if pieces else None
        return _Window(offset, keys, known.vectors | late, known.from_shared, pieces, ticket)

    async def _land(
        self, info: ModelInfo, window: _Window, repeated: Iterable[str], known: dict[str, Vectors]
    ) -> Batch:
        vectors, tokens = window.found, 0
        if window.ticket is not None:
            try:
                computed, tokens = await window.ticket.result()
            finally:
                window.ticket.leave()
            vectors |= dict(zip(window.pieces, computed, strict=True))
        known.update({key: vectors[key] for key in vectors.keys() & repeated})
        rows = np.stack([vectors[key] if key in vectors else known[key] for key in window.keys])
        return Batch(window.offset, rows, info, _count(window, tokens))


def check_texts(texts: Sequence[str]) -> None:
    """Refuse what nobody should ask for.

    Raises:
        InvalidInput: NO_TEXTS, TOO_MANY_TEXTS, EMPTY_TEXT, TEXTS_TOO_LARGE.
    """
    if not texts:
        raise InvalidInput("There is no text to embed.", "NO_TEXTS")
    if len(texts) > MAX_TEXTS:
        message = f"{len(texts)} texts are too many for one call; {MAX_TEXTS} is the most."
        raise InvalidInput(message, "TOO_MANY_TEXTS", texts=str(len(texts)), limit=str(MAX_TEXTS))
    size = sum(len(text.encode()) for text in texts)
    if size > MAX_BYTES:
        message = f"The texts are {size} bytes together; {MAX_BYTES} is the most for one call."
        raise InvalidInput(message, "TEXTS_TOO_LARGE", bytes=str(size), limit=str(MAX_BYTES))
    for index, text in enumerate(texts):
        if not text.strip():
            raise InvalidInput(f"Text {index} is empty.", "EMPTY_TEXT", index=str(index))


def vector_key(info: ModelInfo, text: str) -> str:
    """Return the cache key of a text: all that its vector depends on.

    No tenant is in it, on purpose: the same text has the same vector for everybody. It gives no text away, since a key
    is the hash of the whole text and keys are never listed: who can name a key has its text already.
    """
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"rag:vector:{quote(info.name, safe='')}:{quote(info.revision, safe='')}:{info.dimension}:{digest}"


def _parts(texts: int, size: int) -> Iterator[slice]:
    for start in range(0, texts, size):
        yield slice(start, min(start + size, texts))


def _count(window: _Window, tokens: int) -> Usage:
    """Count a batch; a text that this or another call asked for before came from memory."""
    truncated = sum(piece.truncated for piece in window.pieces.values())
    computed = len(window.pieces) - (window.ticket.joined if window.ticket else 0)
    from_memory = len(window.keys) - computed - window.from_redis
    for source, count in (("memory", from_memory), ("redis", window.from_redis), ("computed", computed)):
        metrics.VECTORS.labels(source).inc(count)
    metrics.TRUNCATED.inc(truncated)
    return Usage(tokens, from_memory, window.from_redis, computed, truncated)
