"""`ragmesh ask`: one question, one answer."""

from __future__ import annotations

import sys
from contextlib import aclosing
from typing import Annotated, Any

import typer
from rich.text import Text

from rag.cli.answer import Answer, event_json
from rag.cli.asking import Documents, MinScore, ModeOption, TopK, Where, retrieval
from rag.cli.plain import plain
from rag.cli.show import Events, show_answer
from rag.cli.terminal import DEFAULT_ADDRESS, Address, connected, out, print_json, run


def ask(
    question: Annotated[str, typer.Argument(help="What to ask; - reads it from a pipe.")],
    *,
    top_k: TopK = None,
    mode: ModeOption = None,
    min_score: MinScore = None,
    document: Documents = None,
    where: Where = None,
    cache: Annotated[bool, typer.Option(help="Whether the answer may come from the cache.")] = True,
    stream: Annotated[bool, typer.Option(help="Show the text as it comes, or all at once.")] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="One line of JSON for each event; one in all with --no-stream.")
    ] = False,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Ask a question and stream the answer with its citations. Exit code 0 when the answer is complete."""
    asked = sys.stdin.read().strip() if question == "-" else question
    how = {**retrieval(top_k, mode, min_score, document or (), where or ()), "use_cache": None if cache else False}
    run(_ask(asked, how, address, stream=stream, as_json=as_json))


async def _ask(question: str, how: dict[str, Any], address: str, *, stream: bool, as_json: bool) -> int:
    async with connected(address) as rag:
        events = rag.ask(question, **how)
        if as_json:
            answer = await _print_events(events, stream=stream)
        else:
            if out.is_terminal:
                out.print(Text(f"\n? {plain(question)}\n", style="bold"))
            answer = await show_answer(out, events, stream=stream)
    return 0 if answer.is_complete else 1


async def _print_events(events: Events, *, stream: bool) -> Answer:
    answer = Answer()
    async with aclosing(events):
        async for event in events:
            answer.take(event)
            if stream:
                print_json(event_json(event))
    if not stream:
        print_json(answer.as_json())
    return answer
