"""Thumbs down become cases that `ragmesh eval` reads."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rag.cli.eval import app
from rag.eval.datasets import read_ranked_set
from rag.eval.feedback import Exported, export_feedback
from rag.runtime.errors import AlreadyExists, NotFound
from rag.v1 import gateway_pb2, passage_pb2, retriever_pb2


class Tenant:
    """A few documents, and what was said about answers."""

    def __init__(self, *cases: gateway_pb2.Feedback) -> None:
        self.cases = cases
        self.texts = {"a": ["One. Two.", "Two. Three."], "b": ["Other."], "c": ["Last."]}

    async def feedback(self, rating: int) -> AsyncGenerator[gateway_pb2.Feedback, None]:
        for case in self.cases:
            if case.rating == rating:
                yield case

    async def documents(self) -> AsyncGenerator[retriever_pb2.Document, None]:
        for document_id in reversed(self.texts):
            yield await self.document(document_id)

    async def document(self, document_id: str) -> retriever_pb2.Document:
        if document_id not in self.texts:
            raise NotFound("There is no such document.", "DOCUMENT_NOT_FOUND")
        return retriever_pb2.Document(id=document_id, name=f"{document_id}.md")

    async def passages(self, document_id: str) -> AsyncGenerator[passage_pb2.Passage, None]:
        for number, text in enumerate(self.texts[document_id]):
            start = number * 5
            yield passage_pb2.Passage(text=text, char_start=start, char_end=start + len(text))


def case(number: int, *documents: str, rating: int = gateway_pb2.RATING_DOWN) -> gateway_pb2.Feedback:
    return gateway_pb2.Feedback(
        answer_id=f"ans_{number}", rating=rating, question=f"Why {number}?", comment="Wrong.", document_ids=documents
    )


async def test_what_is_written_is_read_as_a_dataset(tmp_path: Path) -> None:
    cases = [case(1, "a", "gone"), case(2), case(3, "b", "a"), case(4, "c", rating=gateway_pb2.RATING_UP)]
    assert await export_feedback(Tenant(*cases), tmp_path / "cases", 1_000) == Exported(3, 2, 3)
    dataset = read_ranked_set(tmp_path / "cases")
    assert {question.id: question.text for question in dataset.questions} == {"ans_1": "Why 1?", "ans_3": "Why 3?"}
    assert dataset.grades == {"ans_1": {"a": 1}, "ans_3": {"b": 1, "a": 1}}
    assert {document.id: document.text for document in dataset.documents} == {
        "a": "One. Two. Three.",
        "b": "Other.",
        "c": "Last.",
    }
    rows = [json.loads(line) for line in (tmp_path / "cases" / "queries.jsonl").read_text().splitlines()]
    assert rows[1] == {"_id": "ans_2", "text": "Why 2?", "comment": "Wrong."}


async def test_cited_documents_are_there_however_few_are_wanted(tmp_path: Path) -> None:
    exported = await export_feedback(Tenant(case(1, "a", "b")), tmp_path, 1)
    assert exported.documents == 2


async def test_nothing_is_written_without_a_thumbs_down(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await export_feedback(Tenant(case(1, "a", rating=gateway_pb2.RATING_UP)), tmp_path / "cases", 9)
    assert not (tmp_path / "cases").exists()


async def test_what_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(AlreadyExists):
        await export_feedback(Tenant(case(1)), tmp_path, 9)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_the_command_tells_what_it_does() -> None:
    done = CliRunner().invoke(app, ["export-feedback", "--help"])
    assert done.exit_code == 0
    assert "thumbs down" in done.output
