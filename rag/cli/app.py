"""The words of the `ragmesh` command."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from rag.cli.demo import EXAMPLES, QUESTION, run_demo
from rag.cli.show import show_answer, show_ingestion
from rag.client import RagClient
from rag.runtime.errors import RagError

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False)
console = Console()

Address = Annotated[
    str, typer.Option(envvar="GATEWAY_ADDRESS", help="The gateway's gRPC address.", metavar="HOST:PORT")
]
DEFAULT_ADDRESS = "127.0.0.1:50050"


@app.callback()
def ragmesh() -> None:
    """Give ragmesh documents, ask it questions, and check every citation of its answers."""


@app.command(epilog="Example: ragmesh up")
def up() -> None:
    """Run the five services and a Redis until Ctrl-C."""
    # The same process group, so that Ctrl-C reaches the tree; its exit code becomes ours.
    process = subprocess.Popen([sys.executable, "-m", "services"])
    while True:
        try:
            raise typer.Exit(process.wait())
        except KeyboardInterrupt:
            continue  # the tree heard it too and is stopping


@app.command(epilog='Example: ragmesh demo --doc report.pdf --question "What does it conclude?"')
def demo(
    doc: Annotated[list[Path] | None, typer.Option(exists=True, dir_okay=False, help="A file of your own.")] = None,
    question: Annotated[str, typer.Option(help="What to ask.")] = QUESTION,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Start everything, ingest the examples, answer a question with citations, and stop."""
    _run(run_demo(console, address, doc or list(EXAMPLES), question))


@app.command(epilog="Example: ragmesh ingest report.pdf notes.md")
def ingest(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="PDF, text, Markdown or HTML.")],
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Upload files and watch them become searchable."""
    _run(_ingest(files, address))


@app.command(epilog='Example: ragmesh ask "How long does a worker keep its lease?"')
def ask(question: str, address: Address = DEFAULT_ADDRESS) -> None:
    """Ask a question and stream the answer with its citations."""
    _run(_ask(question, address))


async def _ingest(files: list[Path], address: str) -> int:
    async with RagClient(address) as rag:
        return await show_ingestion(console, rag, files)


async def _ask(question: str, address: str) -> int:
    async with RagClient(address) as rag:
        return await show_answer(console, rag, question)


def _run(work: Awaitable[int]) -> None:
    async def awaited() -> int:
        return await work

    try:
        raise typer.Exit(asyncio.run(awaited()))
    except RagError as error:
        console.print(f"[red]{error.reason}[/red] ", error.message, highlight=False)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def main() -> None:
    """Run the command line."""
    app()
