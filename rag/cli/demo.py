"""`ragmesh demo`: from nothing to a cited answer, with real services, in one command."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from rich.console import Console

from rag.cli.ingest import file_items, ingest_all, view_of
from rag.cli.show import show_answer
from rag.client import RagClient
from rag.runtime.errors import Unavailable

_ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = tuple(_ROOT / "examples" / name for name in ("handbook.pdf", "faq.html"))
QUESTION = "What happens to a job when its worker dies?"
_STOP_S = 15.0
_POLL_S = 0.1


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

    log = load(SharedSettings).data_dir / "demo.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with log.open("w") as output:
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services", stdout=output, stderr=output)
        try:
            with console.status(f"starting five services and a Redis (log: {log})"):
                await _until_serving(rag, process, log)
            console.print(f"five services are serving after {time.monotonic() - began:.1f} s  (log: {log})")
            yield
        finally:
            await _stop(process)
    console.print("all services stopped")


async def _until_serving(rag: RagClient, process: asyncio.subprocess.Process, log: Path) -> None:
    while not await rag.is_serving():
        if process.returncode is not None:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            message = f"The services did not start. The end of {log}:\n{tail}"
            raise Unavailable(message, "START_FAILED")
        await asyncio.sleep(_POLL_S)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(_STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
