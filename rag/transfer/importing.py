"""Importing tenants from files: each document by the ordinary way into an index, those that are there already left out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rag.client.sending import ATTEMPTS, FIRST_PAUSE_S, MOST_PAUSE_S
from rag.ids import check_id
from rag.runtime.backoff import retrying
from rag.runtime.errors import (
    Conflict,
    DeadlineExceeded,
    FailedPrecondition,
    NotFound,
    Overloaded,
    RagError,
    Unavailable,
)
from rag.runtime.tasks import together
from rag.transfer.exporting import Report, source_of
from rag.transfer.framing import Place, parts, places
from rag.transfer.shards import NAME, Manifest, Source, check_shard, damaged, read_manifest
from rag.v1 import retriever_pb2 as pb

_DOCUMENT_S = 600.0
_NEWER = {"VERSION_SUPERSEDED", "VERSION_OUTRUN"}
_AGAIN = {"INDEX_SWITCHED", "STALE_WRITER"}


class Index(Protocol):
    """The retriever."""

    def export(self, tenant: str, after: str, timeout_s: float) -> AsyncGenerator[pb.ExportIndexResponse, None]:
        """Stream a tenant's documents behind an id."""

    async def document(self, tenant: str, document_id: str) -> pb.Document:
        """Return a document; raises NotFound."""

    async def index(self, tenant: str, parts: AsyncIterator[pb.IndexRequest], timeout_s: float) -> None:
        """Write a document."""


@dataclass(slots=True)
class Counts:
    """What became of the documents of an import."""

    imported: int = 0
    there_already: int = 0
    newer_there: int = 0
    """The index has later content of the document, or it was deleted there since."""
    passages: int = 0

    @property
    def documents(self) -> int:
        """How many are through."""
        return self.imported + self.there_already + self.newer_there


def exports_in(folder: Path, tenants: Sequence[str]) -> dict[str, Manifest]:
    """Return the exports of a folder by tenant, only those of `tenants` when any is named; all files are checked.

    Raises:
        NotFound: NO_EXPORT.
        FailedPrecondition: EXPORT_DAMAGED, EXPORT_FORMAT, EXPORT_INCOMPLETE.
    """
    names = list(tenants) or sorted(path.parent.name for path in folder.glob(f"*/{NAME}"))
    found = {name: _checked(folder / check_id(name, "tenant"), name) for name in names}
    if not found:
        raise NotFound(f"There is no export in {folder}.", "NO_EXPORT")
    return found


def _checked(folder: Path, tenant: str) -> Manifest:
    manifest = read_manifest(folder)
    if manifest is None:
        raise NotFound(f"There is no export in {folder}.", "NO_EXPORT")
    if manifest.tenant != tenant:
        raise damaged(folder / NAME, f"it is of the tenant {manifest.tenant}")
    if not manifest.complete:
        message = (
            f"The export in {folder} is not complete; run `ragmesh index export` again, it goes on where it stopped."
        )
        raise FailedPrecondition(message, "EXPORT_INCOMPLETE")
    for shard in manifest.shards:
        check_shard(folder, shard)
    return manifest


async def check_target(retriever: Index, tenant: str, source: Source) -> None:
    """Make sure that the index takes these vectors.

    Raises:
        FailedPrecondition: MODEL_MISMATCH.
    """
    async with aclosing(retriever.export(tenant, "", 30.0)) as answer:
        target = source_of(await anext(answer))
    given = (source.model, source.revision, source.dimension)
    if given != (target.model, target.revision, target.dimension):
        message = (
            f"The export holds vectors of {source.model}@{source.revision[:12]} ({source.dimension} numbers), the index is of "
            f"{target.model}@{target.revision[:12]} ({target.dimension} numbers). Run the embedder with the model of the export "
            "until the first start of the index, import, then rebuild."
        )
        raise FailedPrecondition(message, "MODEL_MISMATCH")


async def import_tenant(
    retriever: Index,
    folder: Path,
    manifest: Manifest,
    report: Report,
    *,
    parallel: int = 4,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Counts:
    """Bring in what is missing of a tenant's export, several documents at once.

    Raises:
        RagError: a document is refused for another reason than that the index has a newer one.
        OSError: a file cannot be read.
    """
    run = _Run(retriever, folder, manifest, report, pause)
    waiting = run.documents()
    await together(*(run.work(waiting) for _ in range(parallel)))
    return run.counts


class _Run:
    """One import of a tenant."""

    def __init__(
        self,
        retriever: Index,
        folder: Path,
        manifest: Manifest,
        report: Report,
        pause: Callable[[float], Awaitable[None]],
    ) -> None:
        self._retriever = retriever
        self._folder = folder
        self._manifest = manifest
        self._report = report
        self._pause = pause
        self.counts = Counts()

    def documents(self) -> Iterator[tuple[Path, Place]]:
        """Yield where each document lies; all workers share this one iterator."""
        for shard in self._manifest.shards:
            path = self._folder / shard.name
            found = list(places(path))
            if len(found) != shard.documents:
                raise damaged(path, f"{len(found)} documents of {shard.documents} can be read")
            for place in found:
                yield path, place

    async def work(self, waiting: Iterator[tuple[Path, Place]]) -> None:
        """Bring in one document after another until none is left."""
        for path, place in waiting:
            await retrying(
                lambda path=path, place=place: self._bring(path, place),  # type: ignore[misc]
                _may_pass,
                FIRST_PAUSE_S,
                MOST_PAUSE_S,
                attempts=ATTEMPTS,
                pause=self._pause,
            )
            self._report(self._manifest.tenant, self.counts.documents, self._manifest.documents, self.counts.passages)

    async def _bring(self, path: Path, place: Place) -> None:
        exported = next(parts(path, place)).document
        if await self._is_there(exported.document):
            self.counts.there_already += 1
            return
        try:
            await self._retriever.index(self._manifest.tenant, self._requests(path, place), _DOCUMENT_S)
        except Conflict as error:
            if error.reason not in _NEWER:
                raise
            self.counts.newer_there += 1
            return
        self.counts.imported += 1
        self.counts.passages += place.passages

    async def _is_there(self, wanted: pb.Document) -> bool:
        try:
            found = await self._retriever.document(self._manifest.tenant, wanted.id)
        except NotFound:
            return False
        return _made_from(found) == _made_from(wanted)

    async def _requests(self, path: Path, place: Place) -> AsyncIterator[pb.IndexRequest]:
        for part in parts(path, place):
            if part.HasField("document"):
                document = part.document.document
                yield pb.IndexRequest(header=self._header(part.document))
            else:
                yield pb.IndexRequest(passages=part.passages)
        yield pb.IndexRequest(
            commit=pb.IndexCommit(
                passage_count=document.passage_count, page_count=document.page_count, title=document.title
            )
        )

    def _header(self, exported: pb.ExportedDocument) -> pb.IndexHeader:
        document, source = exported.document, self._manifest.source
        return pb.IndexHeader(
            document_id=document.id,
            name=document.name,
            media_type=document.media_type,
            content_hash=document.content_hash,
            size_bytes=document.size_bytes,
            metadata=document.metadata,
            model=source.model,
            revision=source.revision,
            dimension=source.dimension,
            accepted_us=exported.accepted_us,
            fingerprint=document.fingerprint,
            title=exported.title,
        )


def _made_from(document: pb.Document) -> tuple[str, str, int]:
    return document.fingerprint, document.content_hash, document.passage_count


def _may_pass(error: Exception) -> bool:
    if isinstance(error, Unavailable | Overloaded | DeadlineExceeded):
        return True
    return isinstance(error, RagError) and error.reason in _AGAIN
