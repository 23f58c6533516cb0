"""Questions whose answers are exact excerpts, for choosing how documents are cut.

The form is that of brandonstarxel/chunking_evaluation: `questions_df.csv` with the columns question, references (a JSON list of
`{content, start_index, end_index}`) and corpus_id, and a document `corpora/<corpus_id>.md` for each of these.
"""

from __future__ import annotations

import csv
import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rag.eval.datasets import SPANS, Document, Found, Question, bad_line, opened
from rag.eval.overlap import Span, figures_of
from rag.runtime.errors import FailedPrecondition, InvalidInput

QUESTIONS = "questions_df.csv"


@dataclass(frozen=True, slots=True)
class Excerpts:
    """Where a question is answered."""

    document_id: str
    spans: Sequence[Span]


@dataclass(frozen=True, slots=True)
class SpanSet:
    """Questions with the excerpts that answer them."""

    documents: Sequence[Document]
    questions: Sequence[Question]
    excerpts: Mapping[str, Excerpts]
    """By question."""
    kind: ClassVar[str] = SPANS

    def judge(self, question_id: str, found: Sequence[Found]) -> Mapping[str, float]:
        """Judge what the passages cover.

        Raises:
            FailedPrecondition: OFFSETS_DIFFER when a passage is not where it says it is.
        """
        texts = {document.id: document.text for document in self.documents}
        for one in found:
            if texts[one.document_id][one.start : one.end] != one.text:
                message = f"A passage of {one.document_id} is not at its place in the text, so nothing can be compared."
                raise FailedPrecondition(message, "OFFSETS_DIFFER")
        answer = self.excerpts[question_id]
        here = [(one.start, one.end) for one in found if one.document_id == answer.document_id]
        elsewhere = sum(one.end - one.start for one in found if one.document_id != answer.document_id)
        return figures_of(answer.spans, here, elsewhere)


def is_span_set(folder: Path) -> bool:
    """Tell whether a folder is in this form."""
    return (folder / QUESTIONS).exists()


def read_span_set(folder: Path) -> SpanSet:
    """Read such a folder.

    Raises:
        NotFound: NO_DATASET, naming the file that is missing.
        InvalidInput: BAD_DATASET, naming the file and the line.
    """
    texts: dict[str, _Text] = {}
    questions, excerpts = [], {}
    for number, (line, row) in enumerate(_rows(folder / QUESTIONS), 1):
        name = row["corpus_id"]
        if name not in texts:
            texts[name] = _Text("".join(text for _, text in opened(folder / "corpora" / f"{name}.md", blank=True)))
        try:
            spans = [texts[name].span(reference) for reference in json.loads(row["references"])]
        except (ValueError, KeyError, TypeError) as error:
            raise bad_line(folder / QUESTIONS, line, "its references are not as they should be") from error
        if not spans:
            raise bad_line(folder / QUESTIONS, line, "it has no references")
        # The place among all is the only id there is: some questions occur twice.
        questions.append(Question(f"q{number}", row["question"]))
        excerpts[f"q{number}"] = Excerpts(name, spans)
    if not questions:
        raise InvalidInput(f"{folder / QUESTIONS} has no questions.", "BAD_DATASET")
    documents = [Document(name, f"{name}.md", "", text.clean) for name, text in texts.items()]
    return SpanSet(documents, questions, excerpts)


class _Text:
    """A document's text as it is, and as the services keep it: in NFC. Offsets are of the first, and may differ in the second."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.clean = unicodedata.normalize("NFC", text.replace("\x00", ""))

    def span(self, reference: Mapping[str, object]) -> Span:
        start, end = int(str(reference["start_index"])), int(str(reference["end_index"]))
        if not 0 <= start < end <= len(self._text):
            raise ValueError("The excerpt is outside of the text.")
        return self._place(start), self._place(end)

    def _place(self, offset: int) -> int:
        if self.clean == self._text:
            return offset
        return len(unicodedata.normalize("NFC", self._text[:offset].replace("\x00", "")))


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    csv.field_size_limit(2**24)
    reader = csv.DictReader(text for _, text in opened(path, blank=True))
    for row in reader:
        if not all(row.get(column) for column in ("question", "references", "corpus_id")):
            raise bad_line(path, reader.line_num, "it lacks question, references or corpus_id")
        yield reader.line_num, row
