"""Questions about documents, each with the facts that a right answer holds; the sets that `make eval-answers` knows.

A set is one of two folders: `questions.jsonl`, with the documents by their paths from the root of the repository, or
`qna_public.jsonl` beside the PDF files it names, whose answers are prose. From prose the facts are derived:

- Figures only, each a fact of its own: percentages, amounts with a unit of millions or billions, numbers with commas between
  their digits. Years, days, list numbers, and what the question itself says are none.
- Where there is none, names: two or more words with capitals that the question does not say.
- A fact that none of the question's documents holds was calculated or worded by whoever wrote the answer, and is left out.
- The lines that name sources are not read. A question without any fact is not judged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.report import ROOT

Fact = tuple[str, ...]
"""Phrases any of which says it."""

_SOURCE_LINE = re.compile(r"^.*\bSOURCE(?:\(S\)|S)?:.*$|\([^()]*\.pdf[^()]*\)", re.MULTILINE | re.IGNORECASE)
_FIGURE = re.compile(
    r"\$?(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)\s?(?P<unit>%|percent\b|million\b|billion\b)?",
    re.IGNORECASE,
)
_NAME = re.compile(r"\b[A-Z][a-z]+(?:,? (?:[A-Z][a-z]+|Inc\.|of the [A-Z][a-z]+))+")
_COMMON_BEGINNING = re.compile(r"^(?:The|In|For|As|This|These|Based|However|Additionally|Yes|No) ")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, its kind, what a right answer holds, and the documents that say it."""

    id: str
    kind: str
    text: str
    facts: tuple[Fact, ...]
    documents: tuple[str, ...]
    prose: str = ""
    """The answer that the facts are to be derived from; empty when they are given."""


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """Questions and the files that hold their answers, by the names that the questions use."""

    name: str
    questions: tuple[Asked, ...]
    files: dict[str, Path]


def read_set(folder: Path) -> QuestionSet:
    """Read a set of either form."""
    if (folder / "questions.jsonl").exists():
        return _own(folder)
    return _prose(folder)


def with_facts(asked: Asked, text_of: Callable[[str], str]) -> Asked:
    """Return the question with its facts; `text_of` returns the text of a document."""
    if not asked.prose:
        return asked
    prose = _SOURCE_LINE.sub("", asked.prose)
    held = "\n".join(text_of(name) for name in asked.documents)
    for found in (_figures(prose), _names(prose)):
        new = [fact for fact in dict.fromkeys(found) if not holds(asked.text, fact)]
        facts = tuple(fact for fact in new if holds(held, fact))
        if facts:
            return replace(asked, facts=facts)
    return asked


def holds(text: str, fact: Fact) -> bool:
    """Tell whether a text says a fact, whatever its case, line breaks, and marks of Markdown."""
    plain = _plain(text)
    return any(_pattern(phrase).search(plain) for phrase in fact)


def share_held(text: str, facts: Sequence[Fact]) -> float:
    """Return the share of the facts that a text says."""
    return sum(holds(text, fact) for fact in facts) / len(facts)


def _own(folder: Path) -> QuestionSet:
    rows = list(_lines(folder / "questions.jsonl"))
    questions = tuple(
        Asked(row["id"], row["kind"], row["question"], tuple(map(tuple, row["gold"])), (row["document"],))
        for row in rows
    )
    return QuestionSet(folder.name, questions, {row["document"]: ROOT / row["document"] for row in rows})


def _prose(folder: Path) -> QuestionSet:
    questions = tuple(
        Asked(row["id"], f"{row['type'].removesuffix(' RAG')}, {row['chunk_type']}".lower(), row["question"], (),
              tuple(row["source_docs"]), row["answer"])
        for row in _lines(folder / "qna_public.jsonl")
    )  # fmt: skip
    named = {name for asked in questions for name in asked.documents}
    files = {path.stem: path for path in sorted(folder.rglob("*.pdf")) if path.stem in named}
    assert named == set(files), f"no file for {sorted(named - set(files))}"
    return QuestionSet(folder.name, questions, files)


def _lines(path: Path) -> Iterator[dict[str, str]]:
    return (json.loads(line) for line in path.read_text().splitlines() if line.strip())


def _figures(prose: str) -> Iterable[Fact]:
    for match in _FIGURE.finditer(prose):
        number, unit = match["number"], (match["unit"] or "").lower()
        if unit in {"%", "percent"}:
            yield (f"{number}%", f"{number} %", f"{number} percent")
        elif "," in number:
            yield (number,)
        elif unit:
            yield (f"{number} {unit}", f"$ {number}", f"${number}") if unit == "million" else (f"{number} {unit}",)


def _names(prose: str) -> Iterable[Fact]:
    for match in _NAME.finditer(prose):
        name = _COMMON_BEGINNING.sub("", match[0])
        if " " in name:
            yield (name,)


def _plain(text: str) -> str:
    text = text.replace("’", "'").replace("“", '"').replace("”", '"').replace("\u00ad", "")
    return " ".join(re.sub(r"[`*]", "", text).split()).lower()


def _pattern(phrase: str) -> re.Pattern[str]:
    plain = re.escape(_plain(phrase))
    # A figure is not the part of a longer one.
    before = r"(?<![\d.,])" if phrase[0].isdigit() else ""
    after = r"(?![\d]|[.,]\d)" if phrase[-1].isdigit() else ""
    return re.compile(before + plain + after)
