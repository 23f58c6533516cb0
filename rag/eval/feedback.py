"""Thumbs down as cases of an evaluation: the questions, the documents of the tenant, and what should be found.

A case names the documents that the answer cited. Whether these are the right ones nobody knows who has not looked: the file of
grades is for people to correct.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TextIO

from rag.runtime.errors import AlreadyExists, FailedPrecondition, NotFound
from rag.v1 import gateway_pb2, passage_pb2, retriever_pb2

GRADE = 1


class Tenant(Protocol):
    """One tenant behind a gateway, as `rag.client.RagClient` shows it."""

    def feedback(self, rating: gateway_pb2.Rating.ValueType) -> AsyncGenerator[gateway_pb2.Feedback, None]:
        """List opinions of one rating, newest first."""
        ...

    def documents(self) -> AsyncGenerator[retriever_pb2.Document, None]:
        """List the documents, newest first."""
        ...

    async def document(self, document_id: str) -> retriever_pb2.Document:
        """Return one document; raises NotFound."""
        ...

    def passages(self, document_id: str) -> AsyncGenerator[passage_pb2.Passage, None]:
        """List a document's passages in their order; raises NotFound."""
        ...


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    questions: int
    judged: int
    """Those of them that name a document which should be found."""
    documents: int


async def export_feedback(tenant: Tenant, folder: Path, most_documents: int) -> Exported:
    """Write a folder in BEIR form: the documents that were cited and the newest of the others.

    Args:
        tenant: Whose feedback.
        folder: New, or empty.
        most_documents: The most documents, but for those that were cited: they are all there.

    Raises:
        AlreadyExists: FOLDER_NOT_EMPTY.
        NotFound: NO_FEEDBACK.
        FailedPrecondition: FOLDER_NOT_WRITTEN.
        RagError: what the gateway says.
    """
    async with aclosing(tenant.feedback(gateway_pb2.RATING_DOWN)) as found:
        cases = [case async for case in found if case.question.strip()]
    if not cases:
        raise NotFound("Nobody gave a thumbs down to an answer yet.", "NO_FEEDBACK")
    try:
        _made(folder)
        with (folder / "corpus.jsonl").open("w", encoding="utf-8") as corpus:
            written = await _write_documents(tenant, corpus, cases, most_documents)
        _write_questions(folder, cases)
        judged = _write_grades(folder, cases, written)
    except OSError as error:
        message = f"{folder} cannot be written: {error.strerror}."
        raise FailedPrecondition(message, "FOLDER_NOT_WRITTEN") from error
    return Exported(len(cases), judged, len(written))


def _made(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise AlreadyExists(f"{folder} is not empty.", "FOLDER_NOT_EMPTY")
    (folder / "qrels").mkdir()


async def _write_documents(
    tenant: Tenant, corpus: TextIO, cases: Iterable[gateway_pb2.Feedback], most: int
) -> set[str]:
    written: set[str] = set()
    for document_id in dict.fromkeys(cited for case in cases for cited in case.document_ids):
        try:
            await _write_document(tenant, corpus, await tenant.document(document_id))
        except NotFound:  # deleted since
            continue
        written.add(document_id)
    async with aclosing(tenant.documents()) as others:
        async for document in others:
            if len(written) >= most:
                break
            if document.id not in written:
                await _write_document(tenant, corpus, document)
                written.add(document.id)
    return written


async def _write_document(tenant: Tenant, corpus: TextIO, document: retriever_pb2.Document) -> None:
    text, end = "", 0
    async with aclosing(tenant.passages(document.id)) as passages:
        async for passage in passages:
            if passage.char_end > end:  # they may overlap
                text += "\n" * (passage.char_start > end > 0) + passage.text[max(end - passage.char_start, 0) :]
                end = passage.char_end
    _write_line(corpus, {"_id": document.id, "title": document.title or document.name, "text": text})


def _write_questions(folder: Path, cases: Iterable[gateway_pb2.Feedback]) -> None:
    with (folder / "queries.jsonl").open("w", encoding="utf-8") as queries:
        for case in cases:
            _write_line(queries, {"_id": case.answer_id, "text": case.question, "comment": case.comment})


def _write_grades(folder: Path, cases: Iterable[gateway_pb2.Feedback], documents: set[str]) -> int:
    judged = 0
    with (folder / "qrels" / "test.tsv").open("w", encoding="utf-8") as grades:
        grades.write("query-id\tcorpus-id\tscore\n")
        for case in cases:
            cited = [document_id for document_id in dict.fromkeys(case.document_ids) if document_id in documents]
            grades.writelines(f"{case.answer_id}\t{document_id}\t{GRADE}\n" for document_id in cited)
            judged += bool(cited)
    return judged


def _write_line(file: TextIO, row: dict[str, str]) -> None:
    file.write(json.dumps(row) + "\n")
