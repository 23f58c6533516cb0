"""An evaluation over real gRPC: what is ingested, what is asked, what is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from rag.eval.datasets import Document, Question, RankedSet
from rag.eval.evaluation import Plan, evaluate
from rag.eval.filling import document_id_of, fill
from rag.eval.overlap import Span
from rag.eval.span_sets import Excerpts, SpanSet
from rag.runtime.errors import FailedPrecondition
from rag.v1 import passage_pb2
from tests.eval.services import Shelf, mesh_of

RAIN, SNOW, SUN = (
    Document("rain", "document.text", "Rain", "rain falls in autumn"),
    Document("https://x.org/snow", "document.text", "Snow", "snow falls in winter"),
    Document("sun", "document.text", "", "sun shines"),
)
DATASET = RankedSet(
    [RAIN, SNOW, SUN],
    [Question("q1", "winter snow"), Question("q2", "who shines")],
    {"q1": {"https://x.org/snow": 1, "rain": 1}, "q2": {"rain": 1}},
)
PLAN = Plan("small", modes=["keyword"], timed=False, callers=2)


class Quiet:
    """A view that remembers."""

    def __init__(self) -> None:
        self.works: list[tuple[str, int]] = []
        self.steps = 0

    def began(self, what: str, total: int) -> None:
        self.works.append((what, total))

    def advanced(self) -> None:
        self.steps += 1


async def run_of(shelf: Shelf, tenant: str, dataset: Any = DATASET, plan: Plan = PLAN, view: Quiet | None = None):
    async with mesh_of(shelf, tenant) as mesh:
        return await evaluate(mesh, dataset, plan, view or Quiet())


async def test_the_documents_are_ingested_and_the_rankings_judged(tenant: str) -> None:
    shelf = Shelf()
    run = await run_of(shelf, tenant)
    assert shelf.documents == {
        (tenant, "rain"): ("document.text", "Rain", "rain falls in autumn"),
        (tenant, document_id_of("https://x.org/snow")): ("document.text", "Snow", "snow falls in winter"),
        (tenant, "sun"): ("document.text", "", "sun shines"),
    }
    mode = run.modes["keyword"]
    assert mode.questions["q1"].found == ["https://x.org/snow"]
    assert mode.questions["q1"].figures["recall_at_5"] == 0.5
    assert mode.questions["q2"].figures["mrr_at_10"] == 0.0
    assert mode.figures["recall_at_5"] == 0.25
    assert mode.figures["precision_at_5"] == pytest.approx(0.1)
    assert (run.filled["documents"], run.filled["unchanged"], run.filled["failed"]) == (3, 0, {})
    assert run.index["model"] == "m"


async def test_documents_are_asked_for_once_each_and_never_from_a_cache(tenant: str) -> None:
    shelf = Shelf(passages_per_document=3)
    run = await run_of(shelf, tenant)
    for asked in shelf.asked:
        assert (asked.top_k, asked.per_document, asked.use_cache) == (100, 1, False)
        assert asked.HasField("use_cache")
    assert run.modes["keyword"].questions["q1"].figures["precision_at_5"] == pytest.approx(0.2)


async def test_a_second_run_finds_everything_unchanged(tenant: str) -> None:
    shelf = Shelf()
    await run_of(shelf, tenant)
    assert (await run_of(shelf, tenant)).filled["unchanged"] == 3


async def test_documents_of_an_earlier_version_are_deleted(tenant: str) -> None:
    shelf, view = Shelf(), Quiet()
    shelf.documents |= {(tenant, f"old{number}"): ("x", "", "snow") for number in range(7)}
    shelf.documents["other-tenant", "old"] = ("x", "", "snow")
    run = await run_of(shelf, tenant, view=view)
    assert run.filled["deleted"] == 7
    assert ("other-tenant", "old") in shelf.documents
    assert len([key for key in shelf.documents if key[0] == tenant]) == 3
    assert view.works == [("ingesting", 3), ("deleting", 7), ("asking, keyword", 2)]
    assert view.steps == 3 + 7 + 2


async def test_documents_that_fail_are_named(tenant: str) -> None:
    run = await run_of(Shelf(refused={SUN.text}), tenant)
    assert run.filled["failed"] == {"sun": "NO_TEXT"}
    assert run.filled["documents"] == 2


async def test_without_ingestion_the_documents_must_be_there(tenant: str) -> None:
    shelf, plan = Shelf(), replace(PLAN, ingest=False)
    with pytest.raises(FailedPrecondition) as raised:
        await run_of(shelf, tenant, plan=plan)
    assert raised.value.reason == "NOT_INGESTED"
    await run_of(shelf, tenant)
    assert (await run_of(shelf, tenant, plan=plan)).filled["documents"] == 3
    assert len(shelf.jobs) == 3
    shelf.documents[tenant, "sun"] = ("document.text", "", "another sun")
    with pytest.raises(FailedPrecondition, match="2 of the 3 documents and 1 others"):
        await run_of(shelf, tenant, plan=plan)


async def test_degraded_answers_are_counted(tenant: str) -> None:
    run = await run_of(Shelf(notices=[passage_pb2.Notice(code="KEYWORD_ONLY")]), tenant)
    assert run.modes["keyword"].notices == {"KEYWORD_ONLY": 2}


async def test_timing_asks_what_no_cache_has_seen(tenant: str) -> None:
    shelf = Shelf()
    run = await run_of(shelf, tenant, plan=replace(PLAN, timed=True, callers=3))
    timing = run.modes["keyword"].timing
    assert timing is not None
    assert (timing.embedding_p50_ms, timing.search_p95_ms, timing.callers) == (2.0, 3.0, 3)
    assert 0 < timing.p50_ms <= timing.p95_ms <= timing.p99_ms
    assert timing.queries_per_s > 0
    queries = [asked.query for asked in shelf.asked]
    assert len(queries) == len(set(queries)) == 3 * len(DATASET.questions)


async def test_many_documents_go_through_the_bounded_queue(tenant: str) -> None:
    documents = [Document(f"d{number}", "document.text", "", f"text {number}") for number in range(700)]
    view = Quiet()
    async with mesh_of(Shelf(), tenant) as mesh:
        filled = await fill(mesh, documents, view)
    assert (filled.documents, view.steps) == (700, 700)


def span_set(excerpts: Sequence[Span]) -> SpanSet:
    return SpanSet([RAIN, SNOW], [Question("q1", "rain")], {"q1": Excerpts("rain", excerpts)})


async def test_excerpts_are_judged_by_their_characters(tenant: str) -> None:
    shelf = Shelf()
    run = await run_of(shelf, tenant, span_set([(0, 4)]))
    figures = run.modes["keyword"].figures
    assert figures["token_recall"] == 1.0
    assert figures["token_precision"] == pytest.approx(4 / len(RAIN.text))
    (asked,) = shelf.asked
    assert asked.top_k == 5
    assert not asked.HasField("per_document")
