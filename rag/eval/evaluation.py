"""One evaluation, from a dataset to its record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rag.eval.asking import Ask, find, time_answers
from rag.eval.datasets import RANKING, Dataset, RankedSet, read_ranked_set
from rag.eval.filling import Filled, View, fill, filled_before, ids_of
from rag.eval.mesh import MODES, Mesh, index_of
from rag.eval.runs import ModeRun, Run, judged_of, mode_run, now
from rag.eval.span_sets import SpanSet, is_span_set, read_span_set
from rag.v1 import retriever_pb2 as pb

DEEPEST = 100
SPAN_TOP_K = 5
"""What the published comparisons of splitters retrieve."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done with a dataset."""

    name: str
    split: str = "test"
    label: str = ""
    modes: Sequence[str] = ("hybrid", "dense", "keyword")
    top_k: int = 0
    """How many passages are asked for to be judged; 0 for what fits the kind of dataset."""
    callers: int = 8
    timed: bool = True
    ingest: bool = True


def read_dataset(folder: Path, split: str, most_questions: int = 0) -> RankedSet | SpanSet:
    """Read a dataset in either form; with `most_questions`, only its first so many.

    Raises:
        NotFound: NO_DATASET.
        InvalidInput: BAD_DATASET.
    """
    dataset = read_span_set(folder) if is_span_set(folder) else read_ranked_set(folder, split)
    return replace(dataset, questions=dataset.questions[:most_questions]) if most_questions else dataset


async def evaluate(mesh: Mesh, dataset: Dataset, plan: Plan, view: View, clock: Callable[[], str] = now) -> Run:
    """Ingest the documents, ask the questions in each mode, and return the record.

    Raises:
        RagError: whatever the services answer.
    """
    filled = await (fill(mesh, dataset.documents, view) if plan.ingest else filled_before(mesh, dataset.documents))
    modes = {mode: await _mode(mesh, dataset, _ask(dataset, plan, mode), plan, view) for mode in plan.modes}
    return Run(
        dataset=plan.name,
        kind=dataset.kind,
        split=plan.split,
        label=plan.label,
        at=clock(),
        top_k=_ask(dataset, plan, "").top_k,
        filled=_told(filled),
        index=await index_of(mesh),
        questions={question.id: question.text for question in dataset.questions},
        modes=modes,
    )


def _ask(dataset: Dataset, plan: Plan, mode: str) -> Ask:
    if dataset.kind == RANKING:
        # A document counts by its best passage: others of it would only take the places of documents.
        return Ask(mode, plan.top_k or DEEPEST, 1, plan.callers)
    return Ask(mode, plan.top_k or SPAN_TOP_K, None, plan.callers)


async def _mode(mesh: Mesh, dataset: Dataset, ask: Ask, plan: Plan, view: View) -> ModeRun:
    view.began(f"asking, {ask.mode}", len(dataset.questions))
    found, notices = await find(mesh, dataset.questions, ask, ids_of(dataset.documents), view)
    judged = {
        question: judged_of(dataset.judge(question, passages), [one.document_id for one in passages])
        for question, passages in found.items()
    }
    timing = None
    if plan.timed:
        view.began(f"timing, {ask.mode}", 2 * len(dataset.questions))
        timing = await time_answers(mesh, dataset.questions, ask.mode, plan.callers, view)
    return mode_run(judged, timing, notices)


def reports_of(run: Run) -> list[pb.ReportEvaluationRequest]:
    """Return what the retriever is to export, for each mode; nothing for a dataset of spans, which has no precision@5."""
    if run.kind != RANKING:
        return []
    return [
        pb.ReportEvaluationRequest(
            dataset=run.dataset,
            mode=MODES[name],
            queries=len(mode.questions),
            precision_at_5=mode.figures["precision_at_5"],
            ndcg_at_10=mode.figures["ndcg_at_10"],
            recall_at_10=mode.figures["recall_at_10"],
        )
        for name, mode in run.modes.items()
    ]


def _told(filled: Filled) -> dict[str, object]:
    return {**asdict(filled), "seconds": round(filled.seconds, 3)}
