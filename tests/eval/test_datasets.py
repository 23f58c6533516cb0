"""Datasets in both forms, and what is said about a broken one."""

from __future__ import annotations

import csv
import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.eval.datasets import Document, Found, read_ranked_set
from rag.eval.evaluation import read_dataset
from rag.eval.filling import document_id_of, ids_of
from rag.eval.span_sets import SpanSet, read_span_set
from rag.ids import check_id
from rag.runtime.errors import FailedPrecondition, InvalidInput, NotFound

CORPUS = [
    {"_id": "d1", "title": "Cats\nand dogs", "text": "They fight."},
    {"_id": "https://x.org/a#b", "text": "Rain."},
]
QUERIES = [
    {"_id": "q1", "text": "Who fights?"},
    {"_id": "q2", "text": "What falls?"},
    {"_id": "q3", "text": "Unjudged?"},
]
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq2\thttps://x.org/a#b\t1\nq2\td1\t0\n"


def written(folder: Path, corpus: object = CORPUS, queries: object = QUERIES, qrels: str = QRELS) -> Path:
    (folder / "qrels").mkdir(parents=True)
    for name, rows in (("corpus", corpus), ("queries", queries)):
        text = rows if isinstance(rows, str) else "\n".join(json.dumps(row) for row in rows)
        (folder / f"{name}.jsonl").write_text(text)
    (folder / "qrels" / "test.tsv").write_text(qrels)
    return folder


def test_a_folder_in_beir_form_is_read(tmp_path: Path) -> None:
    dataset = read_ranked_set(written(tmp_path))
    assert [(document.id, document.title) for document in dataset.documents] == [
        ("d1", "Cats and dogs"),
        ("https://x.org/a#b", ""),
    ]
    assert [question.id for question in dataset.questions] == ["q1", "q2"]
    assert dataset.grades["q2"] == {"https://x.org/a#b": 1, "d1": 0}


def test_a_document_counts_by_its_best_passage(tmp_path: Path) -> None:
    dataset = read_ranked_set(written(tmp_path))
    found = [Found("other"), Found("other"), Found("d1"), Found("d1")]
    assert dataset.judge("q1", found)["mrr_at_10"] == pytest.approx(1 / 2)


def test_questions_can_be_limited(tmp_path: Path) -> None:
    assert len(read_dataset(written(tmp_path), "test", 1).questions) == 1
    assert len(read_dataset(tmp_path, "test").questions) == 2


def test_a_document_of_a_title_only_is_its_title(tmp_path: Path) -> None:
    dataset = read_ranked_set(written(tmp_path, corpus=[*CORPUS, {"_id": "d3", "title": "Only this", "text": " "}]))
    assert dataset.documents[2].text == "Only this"


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"corpus": '{"_id": "d1", "text": "x"}\n{broken'}, "corpus.jsonl, line 2: it is not JSON"),
        ({"corpus": '{"_id": "d1"}'}, "corpus.jsonl, line 1: it is no object with _id and text"),
        ({"corpus": "[1]"}, "corpus.jsonl, line 1"),
        ({"corpus": [CORPUS[0], CORPUS[0]]}, "has the id d1 twice"),
        ({"corpus": ""}, "has no documents"),
        ({"queries": [QUERIES[0]]}, "lacks the query q2"),
        ({"qrels": ""}, "has no lines"),
        ({"qrels": "query-id\tcorpus-id\tscore\n"}, "has no lines"),
        ({"qrels": "q1\td1\t0\n"}, "name no document that answers"),
        ({"qrels": "q1\td1\t1\nq2 d1 1\n"}, "line 2: it has 1 columns"),
        ({"qrels": "q1\td1\t1\nq2\td1\tmuch\n"}, "line 2: its grade is not a whole number"),
    ],
)
def test_a_broken_dataset_is_refused_with_file_and_line(tmp_path: Path, broken: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as raised:
        read_ranked_set(written(tmp_path, **broken))
    assert raised.value.reason == "BAD_DATASET"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"train\.tsv cannot be read"):
        read_ranked_set(written(tmp_path), "train")


@given(st.text(min_size=1))
def test_every_id_becomes_one_that_the_services_take(corpus_id: str) -> None:
    assert check_id(document_id_of(corpus_id), "id") == document_id_of(corpus_id)


@given(st.lists(st.text(min_size=1), unique=True))
def test_different_ids_stay_different(corpus_ids: list[str]) -> None:
    assert len(ids_of([Document(one, "x", "", "x") for one in corpus_ids])) == len(corpus_ids)


def spans_written(folder: Path, text: str, references: object, question: str = "Where?") -> Path:
    (folder / "corpora").mkdir(parents=True)
    (folder / "corpora" / "one.md").write_text(text, newline="")
    with (folder / "questions_df.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["question", "references", "corpus_id"])
        writer.writerow([question, references if isinstance(references, str) else json.dumps(references), "one"])
    return folder


def reference(text: str, content: str) -> dict[str, object]:
    start = text.index(content)
    return {"content": content, "start_index": start, "end_index": start + len(content)}


def span_set(folder: Path, text: str, content: str) -> SpanSet:
    return read_span_set(spans_written(folder, text, [reference(text, content)]))


def test_span_data_is_recognised_and_read(tmp_path: Path) -> None:
    dataset = read_dataset(
        spans_written(tmp_path, "# T\n\nThe sea\nis blue.", [reference("# T\n\nThe sea\nis blue.", "blue")]), ""
    )
    (document,) = dataset.documents
    assert (document.name, document.text) == ("one.md", "# T\n\nThe sea\nis blue.")
    assert dataset.judge("q1", [Found("one", 5, 20, "The sea\nis blue")])["token_recall"] == 1.0


def test_excerpts_follow_a_text_that_is_brought_into_one_form(tmp_path: Path) -> None:
    text = unicodedata.normalize("NFD", "Öl und Käse. ") + "Brot!"
    dataset = span_set(tmp_path, text, "Brot")
    (span,) = dataset.excerpts["q1"].spans
    assert dataset.documents[0].text[slice(*span)] == "Brot"


def test_a_passage_that_is_not_where_it_says_is_noticed(tmp_path: Path) -> None:
    dataset = span_set(tmp_path, "The sea is blue.", "blue")
    with pytest.raises(FailedPrecondition, match="not at its place"):
        dataset.judge("q1", [Found("one", 0, 3, "sea")])


@pytest.mark.parametrize(
    "references", ["[]", "no JSON", '[{"start_index": 1}]', '[{"start_index": 3, "end_index": 900}]']
)
def test_broken_references_are_refused_with_the_line(tmp_path: Path, references: str) -> None:
    with pytest.raises(InvalidInput, match=r"questions_df\.csv, line 2"):
        read_span_set(spans_written(tmp_path, "The sea.", references))
