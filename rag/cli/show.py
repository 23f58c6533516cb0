"""An answer in the terminal: its stages while one waits, its text as it streams, and where it is from."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from rag.cli.answer import STAGES, Answer
from rag.cli.plain import aligned, line, plain
from rag.json_shape import enum_names
from rag.v1 import generator_pb2 as pb

Events = AsyncGenerator[pb.GenerateResponse, None]
_MARKER = r"\[\d+\]"
_COLUMNS = ("", "document", "page", "quoted sentence")


async def show_answer(console: Console, events: Events, *, stream: bool = True, answer: Answer | None = None) -> Answer:
    """Show an answer as it streams, or all at once; return what its events told.

    Args:
        console: Where to; in a pipe, stages are not shown.
        events: Of the answer; they are closed.
        stream: Whether its text is shown as it comes.
        answer: Takes note of the events, for callers that want to know them even when this is broken off.
    """
    answer = answer or Answer()
    with _waiting(console) as status:
        async with aclosing(events):
            async for event in events:
                answer.take(event)
                _show(console, event, status, stream=stream)
    if not stream:
        _write(console, answer.text)
    show_end(console, answer)
    return answer


def show_end(console: Console, answer: Answer) -> None:
    """Show what stands below an answer: its citations, and what it took."""
    console.print("\n" if answer.texts else "")
    if answer.citations:
        _print_citations(console, answer)
        console.print()
    for notice in answer.notices:
        console.print(Text(f"note: {line(notice)}", style="yellow"), soft_wrap=True)
    if answer.is_complete:
        console.print(Text(_receipt(answer), style="dim"), soft_wrap=not console.is_terminal)


def show_sources(console: Console, answer: Answer) -> None:
    """Show all passages that an answer was made from, cited or not."""
    cited = {number for number, _ in answer.citations}
    table = _table("", "document", "page", "score", "passage")
    for source in answer.sources.values():
        style = "" if source.number in cited else "dim"
        page = str(source.passage.page or "-")
        cells = (f"[{source.number}]", line(source.title), page, f"{source.score:.3f}", line(source.passage.text)[:200])
        table.add_row(*(Text(cell) for cell in cells), style=style)
    console.print(table if answer.sources else Text("No passages.", style="dim"))


@contextmanager
def _waiting(console: Console) -> Iterator[Status | None]:
    if not console.is_terminal:
        yield None
        return
    with Status("asking", console=console, spinner="dots", spinner_style="cyan") as status:
        yield status


def _show(console: Console, event: pb.GenerateResponse, status: Status | None, *, stream: bool) -> None:
    match event.WhichOneof("event"):
        case "progress" if status:
            status.update(Text(f"{STAGES.get(event.progress.stage, '')} …", style="dim"))
        case "sources" if status:
            count = len(event.sources.sources)
            status.update(Text(f"{count} passages found, writing …", style="dim"))
        case "token" if stream:
            if status:
                status.stop()
            _write(console, event.token.text)


def _write(console: Console, text: str) -> None:
    # The terminal wraps: it knows the column, and a line that is still being written cannot be wrapped here.
    shown = Text(plain(text))
    shown.highlight_regex(_MARKER, "bold cyan")
    console.print(shown, end="", soft_wrap=True)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for number, name in enumerate(columns):
        table.add_column(name, style="bold cyan" if number == 0 else None, no_wrap=number in {0, 2})
    return table


def _print_citations(console: Console, answer: Answer) -> None:
    """Print number, document, page and the quoted sentence of each citation; each on one whole line in a pipe."""
    rows = [
        (f"[{citation.number}]", _title(answer, citation.number), str(citation.page or "-"), line(citation.quote))
        for citation in answer.citations.values()
    ]
    if console.is_terminal:
        table = _table(*_COLUMNS)
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        console.print(table)
        return
    for whole in aligned([_COLUMNS, *rows]):
        console.print(Text(whole), soft_wrap=True)


def _title(answer: Answer, number: int) -> str:
    return line(answer.sources[number].title) if number in answer.sources else ""


def _receipt(answer: Answer) -> str:
    usage = answer.usage
    stages = ", ".join(f"{_stage(stage.stage)} {stage.elapsed_ms:.0f} ms" for stage in usage.stages)
    names = " ".join(dict.fromkeys((usage.provider, usage.model)))
    model = names if usage.model else "no model asked"
    cost = f", {usage.cost_usd:.4g} USD" if usage.HasField("cost_usd") else ""
    first = f", first token after {usage.first_token_ms:.0f} ms" if usage.HasField("first_token_ms") else ""
    told = f"{model}: {usage.input_tokens} tokens in, {usage.output_tokens} out{cost}; {stages}{first}"
    return f"{told}, {usage.total_ms:.0f} ms in all\n{answer.answer_id}"


def _stage(stage: pb.Stage.ValueType) -> str:
    return enum_names(pb.Stage.DESCRIPTOR).get(stage) or ""
