"""Records: written and read back, compared, drawn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from rag.eval.asking import Timing, percentile
from rag.eval.comparison import Side, compare
from rag.eval.evaluation import reports_of
from rag.eval.plot import MOST_RUNS, plot
from rag.eval.runs import Run, earlier_runs, judged_of, mode_run, read_run, write_run
from rag.runtime.errors import InvalidInput, NotFound
from rag.v1 import retriever_pb2 as pb

TIMING = Timing(10.0, 20.0, 30.0, 4.0, 5.0, 6.0, 77.0, 8)


def run(values: Sequence[float], *, at: str = "2026-11-21T10:00:00Z", dataset: str = "small", label: str = "") -> Run:
    """A run whose questions q1, q2 ... have these figures."""
    judged = {
        f"q{number}": judged_of(
            {"ndcg_at_10": value, "precision_at_5": value / 2, "recall_at_10": value}, ["d1", "d1", "d2"]
        )
        for number, value in enumerate(values, 1)
    }
    return Run(
        dataset=dataset,
        kind="ranking",
        split="test",
        label=label,
        at=at,
        top_k=100,
        filled={"documents": 2, "passages": 3, "unchanged": 0, "deleted": 0, "seconds": 1.0, "failed": {}},
        index={"model": "m", "analyzer": "a"},
        questions={name: f"What is {name}?" for name in judged},
        modes={"hybrid": mode_run(judged, TIMING, {"KEYWORD_ONLY": 1}), "dense": mode_run(judged, None, {})},
    )


def test_a_record_is_read_back_as_it_was(tmp_path: Path) -> None:
    written = run([0.25, 0.75])
    write_run(written, tmp_path / "deep" / "run.json")
    assert read_run(tmp_path / "deep" / "run.json") == written
    assert written.modes["hybrid"].figures["ndcg_at_10"] == 0.5
    assert list(written.modes["hybrid"].questions["q1"].found) == ["d1", "d2"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "modes": {"hybrid": 1}}'])
def test_what_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(InvalidInput) as raised:
        read_run(tmp_path / "run.json")
    assert raised.value.reason == "BAD_RUN"


def test_a_missing_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_run(tmp_path / "run.json")


def test_earlier_runs_are_those_of_the_same_dataset_the_oldest_first(tmp_path: Path) -> None:
    for day, dataset in ((3, "small"), (1, "small"), (2, "small"), (4, "small"), (1, "small-other")):
        write_run(run([0.1], at=f"2026-11-0{day}T00:00:00Z", dataset=dataset), tmp_path / f"{dataset}-{day}.json")
    (tmp_path / "small-notes.json").write_text(json.dumps({"something": "else"}))
    found = earlier_runs(tmp_path, run([0.1], at="2026-11-04T00:00:00Z"), 2)
    assert [one.at[9] for one in found] == ["2", "3"]


def test_two_runs_are_compared_on_their_common_questions() -> None:
    before, after = run([0.2, 0.4, 0.6], label="before"), run([0.3, 0.4, 0.1, 0.9], label="after")
    found = compare(Side(before, "hybrid"), Side(after, "hybrid"))
    assert (found.first, found.second) == ("before hybrid", "after hybrid")
    assert (found.questions, found.left_out) == (3, 1)
    assert found.differences["ndcg_at_10"].mean == pytest.approx((0.1 + 0 - 0.5) / 3)
    assert found.differences["precision_at_5"].mean == pytest.approx((0.1 + 0 - 0.5) / 6)
    assert [(one.id, one.text) for one in found.changed] == [("q3", "What is q3?"), ("q1", "What is q1?")]


def test_what_cannot_be_compared_is_refused() -> None:
    small, other = run([0.2]), run([0.2], dataset="other")
    for first, second, metric in (
        (Side(small, "hybrid"), Side(other, "hybrid"), ""),
        (Side(small, "hybrid"), Side(small, "keyword"), ""),
        (Side(small, "hybrid"), Side(small, "dense"), "unheard_of"),
    ):
        with pytest.raises(InvalidInput):
            compare(first, second, metric)


def test_runs_are_drawn(tmp_path: Path) -> None:
    only_dense = replace(run([0.5]), modes={"dense": run([0.5]).modes["dense"]})
    plot([run([0.2, 0.4], label="before"), run([0.3, 0.5]), only_dense], tmp_path / "deep" / "runs.png")
    picture = (tmp_path / "deep" / "runs.png").read_bytes()
    assert picture.startswith(b"\x89PNG\r\n")


def test_too_many_runs_are_not_drawn(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        plot([run([0.2])] * (MOST_RUNS + 1), tmp_path / "runs.png")


def test_the_figures_for_the_metrics_are_the_means() -> None:
    hybrid, dense = reports_of(run([0.25, 0.75]))
    assert (hybrid.dataset, hybrid.mode, hybrid.queries) == ("small", pb.RETRIEVAL_MODE_HYBRID, 2)
    assert (hybrid.precision_at_5, hybrid.ndcg_at_10, hybrid.recall_at_10) == (0.25, 0.5, 0.5)
    assert dense.mode == pb.RETRIEVAL_MODE_DENSE
    assert reports_of(replace(run([0.5]), kind="spans")) == []


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert [percentile(values, percent) for percent in (50, 95, 99, 100)] == [50, 95, 99, 100]
    assert percentile([7.0], 99) == 7.0
