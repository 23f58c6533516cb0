"""What people see in the terminal: progress of files, and an answer as it streams."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from rag.client import RagClient
from rag.runtime.errors import RagError
from rag.v1 import generator_pb2 as pb
from rag.v1 import ingestor_pb2

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_STATES = {
    ingestor_pb2.JOB_STATE_QUEUED: "queued",
    ingestor_pb2.JOB_STATE_RUNNING: "reading",
    ingestor_pb2.JOB_STATE_READY: "ready",
    ingestor_pb2.JOB_STATE_FAILED: "failed",
}
_STAGES = {pb.STAGE_EMBEDDING: "embedding", pb.STAGE_RETRIEVAL: "retrieval", pb.STAGE_GENERATION: "generation"}


def plain(text: str) -> str:
    """Return text of a document or a model without what a terminal would obey: escape sequences begin with a control."""
    return _CONTROLS.sub("\ufffd", text)


async def show_ingestion(console: Console, rag: RagClient, files: Sequence[Path]) -> int:
    """Upload files and show a progress bar for each; return 1 when one of them failed, else 0."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(30),
        TextColumn("{task.fields[note]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bars = [progress.add_task(plain(path.name), total=None, note="uploading") for path in files]
        ready = await asyncio.gather(
            *(_ingest_one(rag, path, progress, bar) for path, bar in zip(files, bars, strict=True))
        )
    return 0 if all(ready) else 1


async def _ingest_one(rag: RagClient, path: Path, progress: Progress, bar: TaskID) -> bool:
    try:
        job = await rag.ingest(path)
        async with aclosing(rag.watch(job.id)) as events:
            async for event in events:
                job = event.job
                progress.update(bar, **_bar(job))
    except RagError as error:
        progress.update(bar, note=f"{error.reason}: {error.message}", total=1, completed=0)
        return False
    return job.state == ingestor_pb2.JOB_STATE_READY


def _bar(job: ingestor_pb2.Job) -> dict[str, Any]:
    done = job.progress
    if job.state == ingestor_pb2.JOB_STATE_FAILED:
        return {"note": f"{job.error.reason}: {job.error.message}", "total": 1, "completed": 0}
    pages = f"{done.pages_done}/{done.pages_total or '?'} pages  " if done.pages_done or done.pages_total else ""
    note = f"{_STATES.get(job.state, '')}  {pages}{done.passages_indexed} passages"
    if job.state == ingestor_pb2.JOB_STATE_READY:
        note += f"  ({done.vectors_cached} vectors from cache)"
        note += f"  {done.pages_skipped} pages could not be read" if done.pages_skipped else ""
        return {"note": note, "total": 1, "completed": 1}
    return {"note": note, "total": done.passages or None, "completed": done.passages_indexed}


async def show_answer(console: Console, rag: RagClient, question: str) -> int:
    """Ask a question and show its answer as it streams; return 0 when it is complete."""
    # Text of documents and models is never read as markup.
    console.print(Text(f"\n? {plain(question)}\n", style="bold"))
    answer = _Answer()
    async with aclosing(rag.ask(question)) as events:
        async for event in events:
            _show_event(console, event, answer)
    console.print("\n")
    if answer.citations:
        console.print(answer.table())
    console.print(Text(_receipt(answer.usage), style="dim"))
    return 0 if answer.done else 1


class _Answer:
    """What an answer's events told so far."""

    def __init__(self) -> None:
        self.sources: dict[int, pb.Source] = {}
        self.citations: dict[tuple[int, str], pb.Citation] = {}
        self.usage = pb.Usage()
        self.done = False

    def table(self) -> Table:
        """Return the citations: number, document, page and the quoted sentence."""
        table = Table("", "document", "page", "quoted sentence", title="citations", title_justify="left", expand=True)
        for citation in self.citations.values():
            source = self.sources[citation.number]
            quote = plain(" ".join(citation.quote.split()))
            table.add_row(
                f"[{citation.number}]".replace("[", r"\["),
                Text(plain(source.title)),
                str(citation.page or "-"),
                Text(quote),
            )
        return table


def _show_event(console: Console, event: pb.GenerateResponse, answer: _Answer) -> None:
    match event.WhichOneof("event"):
        case "progress":
            name = _STAGES.get(event.progress.stage, "")
            console.print(Text(f"  {name:<11} at {event.progress.elapsed_ms:6.0f} ms", style="dim"))
        case "sources":
            answer.sources = {source.number: source for source in event.sources.sources}
            console.print(Text(f"  {len(answer.sources)} passages found\n", style="dim"))
        case "token":
            console.out(plain(event.token.text), end="", highlight=False)  # the terminal wraps; it knows the column
        case "citation":
            answer.citations.setdefault((event.citation.number, event.citation.quote), event.citation)
        case "notice":
            console.print(Text(f"\n  note: {plain(event.notice.message)}\n", style="yellow"))
        case "usage":
            answer.usage = event.usage
        case "done":
            answer.done = True


def _receipt(usage: pb.Usage) -> str:
    stages = ", ".join(f"{_STAGES.get(stage.stage, '')} {stage.elapsed_ms:.0f} ms" for stage in usage.stages)
    names = " ".join(dict.fromkeys((usage.provider, usage.model)))
    model = names if usage.model else "no model asked"
    cost = f", {usage.cost_usd:.4g} USD" if usage.HasField("cost_usd") else ""
    first = f", first token after {usage.first_token_ms:.0f} ms" if usage.HasField("first_token_ms") else ""
    return f"{model}: {usage.input_tokens} tokens in, {usage.output_tokens} out{cost}; {stages}{first}, {usage.total_ms:.0f} ms in all"
