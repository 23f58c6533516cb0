"""What people see in the terminal: text that is safe to show, and an answer as it streams."""

from __future__ import annotations

import re
from contextlib import aclosing

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rag.client import RagClient
from rag.v1 import generator_pb2 as pb

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_STAGES = {number: name.removeprefix("STAGE_").lower() for name, number in pb.Stage.items()}


def plain(text: str) -> str:
    """Return text of a document or a model without what a terminal would obey: escape sequences begin with a control.

    Surrogates go too: they stand for bytes of a file's name that are no text, and cannot be printed.
    """
    return _CONTROLS.sub("\ufffd", text)


def line(text: str) -> str:
    """Return text of a document, a file's name or a server as one line that can be shown: see `plain`."""
    return " ".join(plain(text).split())


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
