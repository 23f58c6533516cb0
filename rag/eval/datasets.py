"""What is evaluated: documents, questions, and a judge of what was found for them. Here in BEIR form.

BEIR form is a folder with `corpus.jsonl` (`_id`, `title`, `text`), `queries.jsonl` (`_id`, `text`) and `qrels/<split>.tsv` (query, document,
grade, below a line with their names).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from rag.eval.ranking import figures_of
from rag.runtime.errors import InvalidInput, NotFound

RANKING, SPANS = "ranking", "spans"


@dataclass(frozen=True, slots=True)
class Document:
    """A document to find: its id in the dataset, the name it is uploaded under, and what it says."""

    id: str
    name: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question whose answer is known to the judge."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Found:
    """A passage found, by the id of its document in the dataset; `start` and `end` are offsets in the document's text."""

    document_id: str
    start: int = 0
    end: int = 0
    text: str = ""


class Dataset(Protocol):
    """Documents and labelled questions. `figures` names what the judge tells, the most telling first."""

    @property
    def documents(self) -> Sequence[Document]:
        """What is to be found."""
        ...

    @property
    def questions(self) -> Sequence[Question]:
        """Those that can be judged."""
        ...

    @property
    def kind(self) -> str:
        """RANKING or SPANS."""
        ...

    def judge(self, question_id: str, found: Sequence[Found]) -> Mapping[str, float]:
        """Return the figures of one question, each from 0 to 1; `found` is best first."""
        ...


@dataclass(frozen=True, slots=True)
class RankedSet:
    """Questions with the documents that answer them."""

    documents: Sequence[Document]
    questions: Sequence[Question]
    grades: Mapping[str, Mapping[str, int]]
    """By question and document; a document that is not named has 0."""
    kind: ClassVar[str] = RANKING

    def judge(self, question_id: str, found: Sequence[Found]) -> Mapping[str, float]:
        """Judge the order of the documents, each by its best passage."""
        return figures_of(list(dict.fromkeys(one.document_id for one in found)), self.grades[question_id])


def read_ranked_set(folder: Path, split: str = "test") -> RankedSet:
    """Read a folder in BEIR form.

    Raises:
        NotFound: NO_DATASET, naming the file that is missing.
        InvalidInput: BAD_DATASET, naming the file and the line.
    """
    documents = _unique(folder / "corpus.jsonl", [_document(row) for row in _rows(folder / "corpus.jsonl")])
    texts = {row["_id"]: row["text"] for row in _rows(folder / "queries.jsonl")}
    grades = _read_grades(folder / "qrels" / f"{split}.tsv")
    judged = {question: graded for question, graded in grades.items() if any(grade > 0 for grade in graded.values())}
    if lost := [question for question in judged if question not in texts]:
        raise InvalidInput(f"{folder / 'queries.jsonl'} lacks the query {lost[0]} of the qrels.", "BAD_DATASET")
    if not judged:
        raise InvalidInput(f"The qrels of {folder} name no document that answers a query.", "BAD_DATASET")
    return RankedSet(documents, [Question(question, texts[question]) for question in judged], judged)


def opened(path: Path, *, blank: bool = False) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file with their numbers from 1, blank ones only when asked for.

    Raises:
        NotFound: NO_DATASET.
        InvalidInput: BAD_DATASET when it is not UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig") as lines:
            yield from ((number, line) for number, line in enumerate(lines, 1) if blank or line.strip())
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror or 'unknown reason'}.", "NO_DATASET") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8.", "BAD_DATASET") from error


def bad_line(path: Path, number: int, why: str) -> InvalidInput:
    """Return the error about one line of a file."""
    return InvalidInput(f"{path}, line {number}: {why}.", "BAD_DATASET")


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in opened(path):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise bad_line(path, number, "it is not JSON") from error
        if not isinstance(row, dict) or not isinstance(row.get("text"), str) or not row.get("_id"):
            raise bad_line(path, number, "it is no object with _id and text")
        yield {**row, "_id": str(row["_id"])}


def _document(row: Mapping[str, Any]) -> Document:
    title = " ".join(str(row.get("title") or "").split())
    text = row["text"]
    # A document of a title only is its title; one with nothing is refused by the server, which is told at the end.
    title, text = (title, text) if text.strip() else ("", title)
    # This ending is plain text whatever the content looks like.
    return Document(row["_id"], "document.text", title, text)


def _unique(path: Path, documents: Sequence[Document]) -> Sequence[Document]:
    seen: set[str] = set()
    for document in documents:
        if document.id in seen:
            raise InvalidInput(f"{path} has the id {document.id} twice.", "BAD_DATASET")
        seen.add(document.id)
    if not documents:
        raise InvalidInput(f"{path} has no documents.", "BAD_DATASET")
    return documents


def _read_grades(path: Path) -> Mapping[str, Mapping[str, int]]:
    grades: dict[str, dict[str, int]] = {}
    for number, line in opened(path):
        cells = line.rstrip("\r\n").split("\t")
        if len(cells) != 3:
            raise bad_line(path, number, f"it has {len(cells)} columns, and not query, document and grade")
        question, document, grade = cells
        if number == 1 and not _is_grade(grade):  # the names of the columns
            continue
        if not _is_grade(grade):
            raise bad_line(path, number, "its grade is not a whole number")
        grades.setdefault(question, {})[document] = int(grade)
    if not grades:
        raise InvalidInput(f"{path} has no lines.", "BAD_DATASET")
    return grades


def _is_grade(text: str) -> bool:
    return re.fullmatch(r"-?[0-9]{1,9}", text) is not None
