"""Indexing: one version of a document, written passage by passage, visible in one step or never."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from rag.ids import check_id
from rag.runtime import failpoints
from rag.runtime.errors import InvalidInput
from rag.runtime.logs import get_logger
from services.retriever.catalogue import Document
from services.retriever.opening import Index
from services.retriever.parts import (
    MAX_ORDER,
    Batch,
    Commit,
    Header,
    Part,
    Passages,
    check_commit,
    check_header,
    check_passages,
    require,
)
from services.retriever.passages import Scalar, check_model
from services.retriever.upkeep.erasure import Wake

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Writing:
    """A version that is being written, and its place among the contents of its document."""

    version: int
    accepted_us: int
    collection: str
    """The collection it is written to."""


@dataclass(frozen=True, slots=True)
class Written:
    """How many passages were written so far."""

    passages: int


class Versions(Protocol):
    """The versions of documents. They only grow, also over a deletion.

    A version is refused (Conflict) with VERSION_SUPERSEDED when later content is live, the document was deleted since its
    content was accepted, its work was revoked, or it was given up; with STALE_WRITER when a newer writer took up its work; with INDEX_SWITCHED when another index than
    the one it was written to is live.
    """

    async def open(self, tenant: str, header: Header, collection: str) -> Writing:
        """Return a new version that is written to `collection`, or refuse.

        One that is neither committed nor abandoned is erased after a while.
        """

    async def check(self, tenant: str, header: Header, writing: Writing) -> None:
        """Refuse when the version could not be committed any more."""

    async def commit(self, tenant: str, header: Header, writing: Writing, commit: Commit) -> Document:
        """Make a version live in one step and queue the erasure of those before it, or refuse.

        Refused as well (VERSION_OUTRUN) when a later version of earlier content went live first: open another one.
        """

    async def abandon(self, tenant: str, document_id: str, version: int) -> None:
        """Queue the erasure of exactly this version, unless it is live."""

    async def revoke(self, tenant: str, document_id: str, accepted_us: int) -> int:
        """Refuse every version of one work from now on and give up those being written; or return the live one it made."""


class PassageWriter(Protocol):
    """Writes passages. What it has acknowledged survives a crash of the index."""

    @property
    def index(self) -> Index:
        """Which index it is, with the model whose vectors it holds."""

    async def write(self, tenant: str, batch: Batch, metadata: Mapping[str, Scalar]) -> None:
        """Write a batch; doing it twice has the effect of doing it once."""


class Indexing:
    """Writes versions of documents.

    Args:
        versions: Decides which is live.
        live: Returns the index in use.
        erasure: Woken when there is something to erase.
        on_commit: Told of every version that went live, and whose it is.
    """

    def __init__(
        self,
        versions: Versions,
        live: Callable[[], PassageWriter],
        erasure: Wake,
        on_commit: Callable[[str, Document], None] = lambda _tenant, _document: None,
    ) -> None:
        self._versions = versions
        self._live = live
        self._erasure = erasure
        self._on_commit = on_commit

    async def index(self, tenant: str, parts: AsyncIterator[Part]) -> AsyncGenerator[Written | Document, None]:
        """Take a header, batches and a commit; yield progress after each batch, then the committed document.

        Raises:
            InvalidInput: for anything wrong with a part or with the order of the parts.
            FailedPrecondition: MODEL_MISMATCH.
            Unavailable: INDEX_NOT_OPEN, or the index or the catalogue is away.
            Conflict: VERSION_SUPERSEDED, STALE_WRITER, VERSION_OUTRUN, INDEX_SWITCHED.
        """
        header = check_header(await _first(parts))
        index = self._live()
        check_model(header.model, index.index.model)
        writing = await self._versions.open(tenant, header, index.index.collection)
        failpoints.reach("version_opened")
        committed = False
        written = 0
        try:
            async for part in parts:
                match part:
                    case Passages():
                        batch = check_passages(part, header, writing.version, written)
                        await self._versions.check(tenant, header, writing)
                        await index.write(tenant, batch, header.metadata)
                        written += len(batch.passages)
                        yield Written(written)
                    case Commit():
                        document = await self._versions.commit(tenant, header, writing, check_commit(part, written))
                        committed = True
                        self._on_commit(tenant, document)
                        failpoints.reach("version_live")
                        self._erasure.wake()
                        yield document
                        return
                    case Header():
                        raise InvalidInput("The stream has a second header.", "SECOND_HEADER")
            raise InvalidInput("The stream ended without a commit.", "NO_COMMIT")
        finally:
            if not committed:
                await asyncio.shield(self._abandon(tenant, header.document_id, writing.version))

    async def revoke(self, tenant: str, document_id: str, accepted_us: int) -> int:
        """Refuse every version of one work from now on; return the live one that it made, 0 when none is.

        Raises:
            InvalidInput: BAD_ID, BAD_ORDER.
        """
        check_id(document_id, "document_id")
        require(0 < accepted_us < MAX_ORDER, "BAD_ORDER", "accepted_us is out of range.")
        version = await self._versions.revoke(tenant, document_id, accepted_us)
        self._erasure.wake()
        return version

    async def _abandon(self, tenant: str, document_id: str, version: int) -> None:
        try:
            await self._versions.abandon(tenant, document_id, version)
        except Exception as error:  # noqa: BLE001 - the first error is the one to tell; the version's lease ends by itself
            log.warning("abandon_failed", document_id=document_id, version=version, cause=repr(error))
        self._erasure.wake()


async def _first(parts: AsyncIterator[Part]) -> Header:
    async for part in parts:
        if isinstance(part, Header):
            return part
        break
    raise InvalidInput("The stream must begin with a header.", "NO_HEADER")
