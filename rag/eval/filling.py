"""Makes a tenant hold the documents of a dataset, and no others."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Protocol

from rag.eval.datasets import Document
from rag.eval.mesh import Mesh, bytes_of
from rag.ids import check_id
from rag.runtime.errors import FailedPrecondition, InvalidInput
from rag.runtime.tasks import together
from rag.v1 import ingestor_pb2 as pb
from rag.v1 import retriever_pb2

UPLOADS_AT_ONCE = 16
WATCHES_AT_ONCE = 4
"""Enough: the jobs end nearly in the order of the uploads, and one that has ended is told at once."""
DELETIONS_AT_ONCE = 4
UNDER_WAY = 512
"""So many jobs wait or run at most: far less than a queue holds, far more than its workers take."""
_MAX_TITLE = 1_000


class View(Protocol):
    """Shows how far a long piece of work is."""

    def began(self, what: str, total: int) -> None:
        """The next piece of work began; it ends the one before."""
        ...

    def advanced(self) -> None:
        """One more of the total is done."""
        ...


@dataclass(slots=True)
class Filled:
    """What the tenant holds, and what it took."""

    documents: int = 0
    passages: int = 0
    unchanged: int = 0
    deleted: int = 0
    seconds: float = 0.0
    failed: dict[str, str] = field(default_factory=dict)
    """Why a document could not be ingested, by its id in the dataset."""


def ids_of(documents: Sequence[Document]) -> Mapping[str, Document]:
    """Return the documents by the ids that the services know them by.

    Raises:
        InvalidInput: BAD_DATASET when two documents would have one id.
    """
    found = {document_id_of(document.id): document for document in documents}
    if len(found) < len(documents):
        raise InvalidInput("Two documents of the dataset would have one id.", "BAD_DATASET")
    return found


def document_id_of(corpus_id: str) -> str:
    """Return an id that the services take: the one of the dataset when they would, else one made from it."""
    try:
        return check_id(corpus_id, "_id")
    except InvalidInput:
        return f"id_{hashlib.sha256(corpus_id.encode(errors='backslashreplace')).hexdigest()[:40]}"


async def fill(
    mesh: Mesh, documents: Sequence[Document], view: View, clock: Callable[[], float] = time.monotonic
) -> Filled:
    """Ingest what is new or changed, delete what is no longer in the dataset. What is live already costs an upload only."""
    began = clock()
    wanted = ids_of(documents)
    filled = Filled()
    view.began("ingesting", len(wanted))
    jobs: asyncio.Queue[tuple[Document, pb.Job] | None] = asyncio.Queue(UNDER_WAY)

    async def upload(waiting: Iterator[tuple[str, Document]]) -> None:
        for document_id, document in waiting:
            job = await mesh.submit(document_id, document.name, document.title[:_MAX_TITLE], document.text)
            await jobs.put((document, job))

    async def upload_all() -> None:
        waiting = iter(wanted.items())
        await together(*(upload(waiting) for _ in range(UPLOADS_AT_ONCE)))
        for _ in range(WATCHES_AT_ONCE):
            await jobs.put(None)

    async def watch() -> None:
        while item := await jobs.get():
            document, job = item
            _count(filled, document, await mesh.finished(job))
            view.advanced()

    await together(upload_all(), *(watch() for _ in range(WATCHES_AT_ONCE)))
    filled.deleted = await _delete_others(mesh, set(wanted), view)
    await _count_what_is_there(mesh, filled)
    filled.seconds = clock() - began
    return filled


async def filled_before(mesh: Mesh, documents: Sequence[Document]) -> Filled:
    """Return what the tenant holds, when that is the dataset.

    Raises:
        FailedPrecondition: NOT_INGESTED.
    """
    there = {document.id: document.content_hash async for document in _all(mesh)}
    wanted = {name: hashlib.sha256(bytes_of(document.text)).hexdigest() for name, document in ids_of(documents).items()}
    if there != wanted:
        alike = len(there.items() & wanted.items())
        message = f"The tenant has {alike} of the {len(wanted)} documents and {len(there) - alike} others."
        raise FailedPrecondition(message, "NOT_INGESTED")
    filled = Filled(unchanged=len(wanted))
    await _count_what_is_there(mesh, filled)
    return filled


def _count(filled: Filled, document: Document, job: pb.Job) -> None:
    if job.state == pb.JOB_STATE_READY:
        filled.unchanged += job.unchanged
    else:
        filled.failed[document.id] = job.error.reason or pb.JobState.Name(job.state)


async def _delete_others(mesh: Mesh, wanted: set[str], view: View) -> int:
    others = [document.id async for document in _all(mesh) if document.id not in wanted]
    if others:
        view.began("deleting", len(others))
    waiting = iter(others)

    async def delete() -> None:
        for document_id in waiting:
            await mesh.delete(document_id)
            view.advanced()

    await together(*(delete() for _ in range(min(DELETIONS_AT_ONCE, len(others) or 1))))
    return len(others)


async def _count_what_is_there(mesh: Mesh, filled: Filled) -> None:
    async for document in _all(mesh):
        filled.documents += 1
        filled.passages += document.passage_count


async def _all(mesh: Mesh) -> AsyncIterator[retriever_pb2.Document]:
    async with aclosing(mesh.documents()) as documents:
        async for document in documents:
            yield document
