"""`make eval-answers`: do answers that are made of quoted sentences hold what was asked for, and where is it lost?

The services run for this, without a language model, and keep what was ingested under results/answers. Each question is
asked of the generator past its caches. What is judged, by facts that a right answer holds (see bench/answer_sets.py):

- found: a passage that the retriever brought holds one of the facts. The answer cannot do better.
- answer, first, quoted: the answer's text, its first sentence, the quotes of its citations hold one.
- all found, all told: the shares of all facts of the question in passages and answer.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any

from rich.console import Console

from bench.answer_sets import Asked, QuestionSet, holds, read_set, share_held, with_facts
from bench.report import RESULTS, ROOT, finish
from rag.cli.own_services import Private, private, started
from rag.client import RagClient
from rag.eval.filling import document_id_of
from rag.runtime import context
from rag.runtime.peers import Peer, open_peer
from rag.v1 import generator_pb2 as pb
from rag.v1 import ingestor_pb2, passage_pb2
from rag.v1.generator_pb2_grpc import GeneratorServiceStub

OWN = ROOT / "examples" / "eval" / "answers"
_TENANT = "default"
"""The one of the gateway, through which the documents come in."""
_ANSWER_S = 60.0
_MARKER = re.compile(r"\s*\[\d+\]")


@dataclass(slots=True)
class Answered:
    """An answer as its events told it."""

    text: str = ""
    quotes: list[str] = field(default_factory=list)
    passages: list[passage_pb2.Passage] = field(default_factory=list)
    provider: str = ""
    writing_ms: float = 0.0
    total_ms: float = 0.0

    def sentences(self) -> list[str]:
        """Return the cited sentences."""
        return [part.strip() for part in _MARKER.split(self.text) if part.strip()]


def main() -> None:
    """Ask all questions of a set, judge the answers; exit 1 when a document could not be ingested."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=OWN, help="a set of questions")
    parser.add_argument("--show", action="store_true", help="print the answers too")
    options = parser.parse_args()
    questions = read_set(options.folder)
    judged, failed = asyncio.run(_measure(questions))
    if options.show:
        _show(judged)
    finish(
        "answers" if options.folder == OWN else f"answers-{questions.name}",
        [_row(name, rows) for name, rows in _groups(judged).items()],
        failed=bool(failed),
        not_ingested=failed,
        answers=judged,
    )


async def _measure(questions: QuestionSet) -> tuple[list[dict[str, Any]], list[str]]:
    data = RESULTS / "answers" / "data"
    own = private(data / questions.name, data / ".models")
    # Whatever model this machine is set up for: what is measured is the answer without one.
    own = replace(own, environment={**own.environment, "GENERATOR_PROVIDER": "extractive"})
    async with _running(own) as (rag, generator):
        failed = [path.name for path in questions.files.values() if not await _ingested(rag, path)]
        texts = {name: await _text(rag, _id_of(path)) for name, path in questions.files.items()}
        judged = []
        for asked in questions.questions:
            known = with_facts(asked, texts.__getitem__)
            wanted = {_id_of(questions.files[name]) for name in asked.documents}
            judged.append(_judge(known, wanted, await _ask(generator, asked.text)))
    return judged, failed


@asynccontextmanager
async def _running(own: Private) -> AsyncIterator[tuple[RagClient, Peer]]:
    async with (
        RagClient(own.address("gateway"), timeout_s=600.0) as rag,
        open_peer(own.address("generator"), "rag.v1.GeneratorService") as generator,
        started(Console(), own.folder / "services.log", rag.is_serving, own),
    ):
        yield rag, generator


async def _ingested(rag: RagClient, path: Path) -> bool:
    """Upload a file, follow its job; what is there already costs the upload only."""
    job = await rag.ingest(path, document_id=_id_of(path))
    async with aclosing(rag.watch(job.id)) as events:
        async for event in events:
            job = event.job
    return bool(job.state == ingestor_pb2.JOB_STATE_READY)


def _id_of(path: Path) -> str:
    return document_id_of(path.stem)


async def _text(rag: RagClient, document_id: str) -> str:
    async with aclosing(rag.passages(document_id)) as passages:
        return "\n".join([passage.text async for passage in passages])


async def _ask(generator: Peer, question: str) -> Answered:
    context.use(context.new_call(_TENANT, _ANSWER_S))
    stub, answered = GeneratorServiceStub(generator.channel), Answered()
    request = pb.GenerateRequest(question=question, use_cache=False)
    async with aclosing(generator.stream(stub.Generate, request)) as events:
        async for event in events:
            _note(answered, event)
    return answered


def _note(answered: Answered, event: pb.GenerateResponse) -> None:
    match event.WhichOneof("event"):
        case "sources":
            answered.passages = [source.passage for source in event.sources.sources]
        case "token":
            answered.text += event.token.text
        case "citation":
            answered.quotes.append(event.citation.quote)
        case "usage":
            answered.provider, answered.total_ms = event.usage.provider, event.usage.total_ms
            stages = {stage.stage: stage.elapsed_ms for stage in event.usage.stages}
            answered.writing_ms = stages.get(pb.STAGE_GENERATION, 0.0)


def _judge(asked: Asked, wanted: set[str], answered: Answered) -> dict[str, Any]:
    sentences, facts = answered.sentences(), asked.facts
    found = "\n\n".join(passage.text for passage in answered.passages)
    quoted = "\n\n".join(answered.quotes)
    told = "\n\n".join(sentences)
    figures: dict[str, float] = {
        "right document": float(bool(wanted & {passage.document_id for passage in answered.passages})),
        "sentences": len(sentences),
        "words": len(told.split()),
        "writing ms": answered.writing_ms,
        "total ms": answered.total_ms,
    }
    if facts:
        texts = {"found": found, "answer": told, "first": sentences[0] if sentences else "", "quoted": quoted}
        figures |= {name: float(any(holds(text, fact) for fact in facts)) for name, text in texts.items()}
        figures |= {"all found": share_held(found, facts), "all told": share_held(told, facts)}
    about = {"question": asked.text, "kind": asked.kind, "id": asked.id, "facts": asked.facts}
    return {**about, "figures": figures, "answer": answered.text, "provider": answered.provider}


def _groups(judged: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The rows of the table: all, two fixed halves, of which one is for tuning, and each kind."""
    groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for one in judged:
        half = "half to tune on" if hashlib.sha256(one["id"].encode()).digest()[0] % 2 else "other half"
        for name in ("all", half):
            groups[name].append(one)
    for one in sorted(judged, key=lambda one: str(one["kind"])):
        groups[one["kind"]].append(one)
    return groups


def _row(name: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    with_facts_known = [row["figures"] for row in rows if row["facts"]]
    row: dict[str, Any] = {"questions": name, "n": len(rows), "judged": len(with_facts_known)}
    for figure in ("found", "answer", "first", "quoted", "all found", "all told"):
        row[figure] = 100 * mean(figures[figure] for figures in with_facts_known) if with_facts_known else 0.0
    for figure in ("sentences", "words", "writing ms", "total ms"):
        row[figure] = mean(row["figures"][figure] for row in rows)
    return row


def _show(judged: Sequence[Mapping[str, Any]]) -> None:
    for one in judged:
        verdict = {1.0: "holds it", 0.0: "does not hold it"}.get(one["figures"].get("answer"), "not judged")
        print(f"\n{one['id']} ({one['kind']}, {verdict}) {one['question']}\n   {one['answer']}")


if __name__ == "__main__":
    main()
