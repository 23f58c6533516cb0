"""The questions of `make eval-answers`: that they are true, and how facts are told from prose."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path

import pytest

from bench.answer_sets import Asked, holds, read_set, share_held, with_facts
from bench.report import ROOT

OWN = ROOT / "examples" / "eval" / "answers"


def _asked(prose: str, question: str = "How did sales change?") -> Asked:
    return Asked("q1", "kind", question, (), ("report",), prose)


def test_each_phrase_of_the_own_set_stands_in_its_document() -> None:
    chapters = "\n".join(path.read_text() for path in sorted((ROOT / "docs" / "operations").glob("*.md")))
    for asked in read_set(OWN).questions:
        # The PDF is made from the chapters; a test of its own keeps it so.
        text = chapters if asked.documents == ("examples/handbook.pdf",) else (ROOT / asked.documents[0]).read_text()
        for fact in asked.facts:
            for phrase in fact:
                assert holds(text, (phrase,)) or holds(chapters, (phrase,)), f"{asked.id}: {phrase}"


def test_the_own_set_has_enough_questions_of_each_kind_and_none_twice() -> None:
    questions = read_set(OWN).questions
    kinds = Counter(asked.kind for asked in questions)
    assert len(questions) >= 60
    assert len({asked.text for asked in questions}) == len({asked.id for asked in questions}) == len(questions)
    assert set(kinds) == {"command", "definition", "how-to", "list", "name", "number", "two-part", "why", "yes-no"}
    assert min(kinds.values()) >= 4


@pytest.mark.parametrize(
    ("text", "phrase", "is_held"),
    [
        ("about 12,809 million", "2,809", False),
        ("about 12,809 million", "12,809", True),
        ("sales of $ 66.5", "66", False),
        ("Press `Ctrl-C`\nonce", "press ctrl-c once", True),
        ("a rise of 5 %, no more", "5 %", True),
        ("a rise of 15 %", "5 %", False),
    ],
)
def test_a_figure_is_not_held_by_a_longer_one(text: str, phrase: str, is_held: bool) -> None:
    assert holds(text, (phrase,)) is is_held


def test_figures_are_told_from_prose_without_years_and_sources() -> None:
    prose = "In 2023 sales were $14,316 million, up 5% from $3.83 billion.\n\nSOURCE(S): 2023 Q1, 99,999 pages"
    asked = with_facts(_asked(prose), lambda _: "14,316 and 5% and 3.83 billion and 99,999 and 2023")
    assert asked.facts == (("14,316",), ("5%", "5 %", "5 percent"), ("3.83 billion",))
    assert share_held("It was 14,316, or 5 percent.", asked.facts) == pytest.approx(2 / 3)


def test_what_no_document_holds_and_what_the_question_says_are_no_facts() -> None:
    asked = _asked("It is 25.93% of 21,213 and 40%.", "Is it 40%?")
    assert with_facts(asked, lambda _: "21,213 and 40%").facts == (("21,213",),)


def test_names_are_facts_where_there_are_no_figures() -> None:
    asked = _asked("The lawsuit of Epic Games is open, and so is that of Acme Works.", "What of Acme Works?")
    assert with_facts(asked, lambda _: "Epic Games and Acme Works").facts == (("Epic Games",),)


def test_given_facts_are_kept() -> None:
    asked = dataclasses.replace(_asked(""), facts=(("port 8080",),))
    assert with_facts(asked, lambda _: "") is asked


def test_a_set_of_prose_names_its_files(tmp_path: Path) -> None:
    row = {
        "id": "k1",
        "question": "Q?",
        "answer": "A.",
        "source_docs": ["r1"],
        "type": "Multi-Doc RAG",
        "chunk_type": "Table",
    }
    (tmp_path / "qna_public.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "r1.pdf").write_bytes(b"")
    found = read_set(tmp_path)
    assert found.files == {"r1": tmp_path / "docs" / "r1.pdf"}
    assert [asked.kind for asked in found.questions] == ["multi-doc, table"]
