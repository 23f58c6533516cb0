"""Asks the questions of a dataset: once for what is found, and once more for how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from rag.eval.datasets import Document, Found, Question
from rag.eval.filling import View
from rag.eval.mesh import Answer, Mesh
from rag.ids import new_id
from rag.runtime.tasks import together
from rag.v1 import passage_pb2

TIMED_TOP_K = 10
"""What callers ask for: a hundred passages are asked for to be judged, not to be answered fast."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long questions took, in milliseconds: for one caller, and how many `callers` together got answered in a second."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    embedding_p50_ms: float
    search_p50_ms: float
    search_p95_ms: float
    queries_per_s: float
    callers: int
    top_k: int = TIMED_TOP_K


@dataclass(frozen=True, slots=True)
class Ask:
    """How questions are asked."""

    mode: str
    top_k: int
    per_document: int | None
    callers: int


async def find(
    mesh: Mesh, questions: Sequence[Question], ask: Ask, names: Mapping[str, Document], view: View
) -> tuple[dict[str, list[Found]], dict[str, int]]:
    """Return what is found for each question, best first, and how often which notice came.

    Args:
        mesh: Who is asked.
        questions: What is asked.
        ask: How.
        names: The documents by the ids that the services know them by.
        view: Advances with each question.
    """
    found: dict[str, list[Found]] = {}
    notices: dict[str, int] = {}

    async def one(question: Question) -> None:
        answer = await mesh.retrieve(question.text, ask.mode, ask.top_k, ask.per_document)
        found[question.id] = [_found(passage, names) for passage in answer.passages]
        for notice in answer.notices:
            notices[notice] = notices.get(notice, 0) + 1
        view.advanced()

    await _each(questions, one, ask.callers)
    return {question.id: found[question.id] for question in questions}, notices


async def time_answers(mesh: Mesh, questions: Sequence[Question], mode: str, callers: int, view: View) -> Timing:
    """Measure latency with one caller, then throughput with several.

    Each question gets a word of its own behind it: whatever caches there are, none has seen it.
    """
    answers: list[Answer] = []

    async def one(question: Question) -> None:
        answers.append(await mesh.retrieve(f"{question.text} {new_id('q')[-6:]}", mode, TIMED_TOP_K))
        view.advanced()

    await _each(questions, one, 1)
    alone, began = list(answers), time.perf_counter()
    await _each(questions, one, callers)
    seconds = time.perf_counter() - began
    took, searching = [answer.took_ms for answer in alone], [answer.search_ms for answer in alone]
    return Timing(
        p50_ms=percentile(took, 50),
        p95_ms=percentile(took, 95),
        p99_ms=percentile(took, 99),
        embedding_p50_ms=percentile([answer.embedding_ms for answer in alone], 50),
        search_p50_ms=percentile(searching, 50),
        search_p95_ms=percentile(searching, 95),
        queries_per_s=len(questions) / seconds,
        callers=callers,
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the least value that so many percent of the values do not exceed (nearest rank)."""
    return sorted(values)[max(ceil(percent / 100 * len(values)), 1) - 1]


async def _each(
    questions: Sequence[Question], one: Callable[[Question], Coroutine[Any, Any, None]], callers: int
) -> None:
    waiting = iter(questions)

    async def caller(rest: Iterator[Question]) -> None:
        for question in rest:
            await one(question)

    await together(*(caller(waiting) for _ in range(min(callers, len(questions)))))


def _found(passage: passage_pb2.Passage, names: Mapping[str, Document]) -> Found:
    document = names.get(passage.document_id)
    # One that is not of the dataset is kept under its own name, so that it counts as wrong.
    name = document.id if document else passage.document_id
    return Found(name, passage.char_start, passage.char_end, passage.text)
