"""`ragmesh demo`: from nothing to a cited answer, with real services, in one command."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from rag.cli.ingest import file_items, ingest_all, view_of
from rag.cli.own_services import ROOT, started
from rag.cli.plain import plain
from rag.cli.show import show_answer
from rag.cli.terminal import DEFAULT_ADDRESS, Address, connected, out, run
from rag.client import RagClient

EXAMPLES = tuple(ROOT / "examples" / name for name in ("handbook.pdf", "faq.html"))
QUESTION = "What happens to a job when its worker dies?"


def demo(
    doc: Annotated[list[Path] | None, typer.Option(exists=True, dir_okay=False, help="A file of your own.")] = None,
    question: Annotated[str, typer.Option(help="What to ask.")] = QUESTION,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Start everything, ingest the examples, answer a question with citations, and stop."""
    run(run_demo(out, address, doc or list(EXAMPLES), question))


async def run_demo(console: Console, address: str, files: Sequence[Path], question: str) -> int:
    """Use the services at `address`, or start them for as long as it takes; return the exit code."""
    async with connected(address) as rag, _services(console, rag):
        failed = await ingest_all(rag, file_items(files), view_of(console, len(files)))
        if failed:
            return failed
        # Text of documents and models is never read as markup.
        console.print(Text(f"\n? {plain(question)}\n", style="bold"))
        return 0 if (await show_answer(console, rag.ask(question))).is_complete else 1


@asynccontextmanager
async def _services(console: Console, rag: RagClient) -> AsyncIterator[None]:
    if await rag.is_serving():
        console.print("using the services that are already running")
        yield
        return
    from rag.runtime.settings import SharedSettings, load  # takes a quarter of the start of every other command

    async with started(console, load(SharedSettings).data_dir / "demo.log", rag.is_serving):
        yield
