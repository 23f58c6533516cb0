"""Reads documents in a child process with limits, because a document can take a parser down."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rag.runtime.errors import InvalidInput
from rag.runtime.logs import get_logger
from rag.runtime.tasks import cancel_all
from services.ingestor import frames
from services.ingestor.metrics import PARSER_DEATHS
from services.ingestor.pages import Opening, Page

log = get_logger(__name__)

_OUT_OF_MEMORY = 70
_STDERR_BYTES = 8192
_TIMEOUT_SIGNALS = {-signal.SIGXCPU, -signal.SIGALRM}
_MESSAGES = {
    "PARSER_MEMORY": "Reading the document takes more memory than is allowed.",
    "PARSER_TIMEOUT": "Reading the document takes more time than is allowed.",
    "PARSER_CRASHED": "The document crashed its parser.",
}


@dataclass(frozen=True, slots=True)
class ReaderLimits:
    """What one document may cost. `wait_s` is how long its parser may work in all, as a clock on the wall tells."""

    memory_bytes: int
    cpu_s: int
    wait_s: float
    life_s: int


class ChildReader:
    """A `DocumentReader`: one child per document, streaming pages back through a pipe that holds it to our pace."""

    def __init__(self, limits: ReaderLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock

    @asynccontextmanager
    async def read(self, path: Path, media_type: str) -> AsyncIterator[AsyncIterator[Opening | Page]]:
        """Start the child; kill it when the block is left, whatever the reason."""
        child = await self._start(path, media_type)
        stderr = asyncio.create_task(_tail(child.stderr), name="parser-stderr")
        try:
            yield self._items(child, stderr)
        finally:
            if child.returncode is None:
                child.kill()
            await child.wait()
            await cancel_all([stderr])

    async def _start(self, path: Path, media_type: str) -> asyncio.subprocess.Process:
        limits = self._limits
        numbers = (str(limits.memory_bytes), str(limits.cpu_s), str(limits.life_s))
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.ingestor.readers", *numbers, media_type, str(path)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # Nothing of ours: no key, no address.
            env={"PYTHONPATH": ":".join(entry or "." for entry in sys.path), "PYTHONDONTWRITEBYTECODE": "1"},
            start_new_session=True,
        )

    async def _items(
        self, child: asyncio.subprocess.Process, stderr: asyncio.Task[bytes]
    ) -> AsyncIterator[Opening | Page]:
        left_s = self._limits.wait_s
        while True:
            began = self._clock()
            frame = await self._frame(child, stderr, left_s)
            # Only the child's own time counts, not what the stages behind us take.
            left_s -= self._clock() - began
            item = frames.item_of(frame)
            if item is not None:
                yield item
            elif frame["kind"] == "error":
                raise InvalidInput(str(frame["message"]), str(frame["reason"]))
            else:
                return

    async def _frame(
        self, child: asyncio.subprocess.Process, stderr: asyncio.Task[bytes], left_s: float
    ) -> frames.Frame:
        if child.stdout is None:
            raise RuntimeError("the parser child has no standard output")
        try:
            async with asyncio.timeout(max(left_s, 0)):
                (size,) = frames.HEADER.unpack(await child.stdout.readexactly(frames.HEADER.size))
                return frames.decode(await child.stdout.readexactly(frames.checked(size)))
        except TimeoutError as error:
            raise _death("PARSER_TIMEOUT", "no answer", b"") from error
        except asyncio.IncompleteReadError as error:
            code = await child.wait()
            raise _death(_reason(code), f"exit status {code}", await stderr) from error
        except ValueError as error:
            raise _death("PARSER_CRASHED", "not a frame", b"") from error


def _reason(code: int) -> str:
    if code in _TIMEOUT_SIGNALS:
        return "PARSER_TIMEOUT"
    return "PARSER_MEMORY" if code == _OUT_OF_MEMORY else "PARSER_CRASHED"


def _death(reason: str, how: str, stderr: bytes) -> InvalidInput:
    PARSER_DEATHS.labels(reason).inc()
    log.warning("parser_died", reason=reason, how=how, stderr=stderr.decode(errors="replace"))
    return InvalidInput(_MESSAGES[reason], reason)


async def _tail(stream: asyncio.StreamReader | None) -> bytes:
    tail = b""
    while stream is not None and (piece := await stream.read(_STDERR_BYTES)):
        tail = (tail + piece)[-_STDERR_BYTES:]
    return tail
