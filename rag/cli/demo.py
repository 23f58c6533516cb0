"""`ragmesh demo`: from nothing to a cited answer, with real services, in one command."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from rich.console import Console

from rag.cli.ingest import file_items, ingest_all, view_of
from rag.cli.own_services import ROOT, started
from rag.cli.show import show_answer
from rag.client import RagClient

EXAMPLES = tuple(ROOT / "examples" / name for name in ("handbook.pdf", "faq.html"))
QUESTION = "What happens to a job when its worker dies?"


async def run_demo(console: Console, address: str, files: Sequence[Path], question: str) -> int:
    """Use the services at `address`, or start them for as long as it takes; return the exit code."""
    async with RagClient(address) as rag, _services(console, rag):
        failed = await ingest_all(rag, file_items(files), view_of(console, len(files)))
        return failed or await show_answer(console, rag, question)


@asynccontextmanager
async def _services(console: Console, rag: RagClient) -> AsyncIterator[None]:
    if await rag.is_serving():
        console.print("using the services that are already running")
        yield
        return
    from rag.runtime.settings import SharedSettings, load  # takes a quarter of the start of every other command

    async with started(console, load(SharedSettings).data_dir / "demo.log", rag.is_serving):
        yield
