"""Reads documents in child processes with limits, because a document can take a parser down."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from rag.runtime.errors import InvalidInput
from rag.runtime.logs import get_logger
from rag.runtime.tasks import unbroken
from services.ingestor import frames
from services.ingestor.adapters.fork_server import ForkServer
from services.ingestor.adapters.parser_child import ParserChild
from services.ingestor.frames import OUT_OF_MEMORY, ReaderLimits, ReadRequest
from services.ingestor.metrics import PARSER_DEATHS
from services.ingestor.pages import Opening, Page

log = get_logger(__name__)

_PATIENCE_S = 1.0
"""A child that keeps us waiting for longer has to let others go first."""
_MAX_PASSWORD_CHARS = 1024
_END_S = 10.0
"""The longest that a child may take to end after its last word."""
_TIMEOUT_SIGNALS = {-signal.SIGXCPU, -signal.SIGALRM}
_MESSAGES = {
    "PARSER_MEMORY": "Reading the document takes more memory than is allowed",
    "PARSER_TIMEOUT": "Reading the document takes more time than is allowed",
    "PARSER_CRASHED": "The document crashed its parser",
}


class ChildReader:
    """A `DocumentReader`: one child per document, streaming pages back through a pipe that holds it to our pace."""

    def __init__(self, server: ForkServer, limits: ReaderLimits) -> None:
        self._server = server
        self._limits = limits

    @classmethod
    @asynccontextmanager
    async def open(cls, limits: ReaderLimits) -> AsyncIterator[ChildReader]:
        """Start the process that forks the children; stop it with all of them at the end."""
        async with ForkServer.open() as server:
            yield cls(server, limits)

    @asynccontextmanager
    async def read(
        self, path: Path, media_type: str, password: str = ""
    ) -> AsyncIterator[AsyncIterator[Opening | Page]]:
        """Start the child; kill it when the block is left, whatever the reason."""
        if len(password) > _MAX_PASSWORD_CHARS:
            raise InvalidInput("The password does not open the document.", "PDF_PASSWORD_WRONG")
        child = await self._server.fork(ReadRequest(media_type, str(path.absolute()), self._limits, password))
        try:
            yield self._items(child)
        finally:
            await unbroken(child.stop())

    async def _items(self, child: ParserChild) -> AsyncIterator[Opening | Page]:
        last: Opening | Page = Opening()
        while True:
            frame = await self._frame(child, last)
            try:
                item = frames.item_of(frame)
            except ValueError as error:
                raise _death("PARSER_CRASHED", "not an item", b"", last) from error
            if item is not None:
                last = item
                yield item
            elif frame["kind"] == "error":
                raise InvalidInput(str(frame["message"]), str(frame["reason"]))
            else:
                return

    async def _frame(self, child: ParserChild, last: Opening | Page) -> frames.Frame:
        # Only the wait for the child counts, not what the stages behind us take.
        impatience = asyncio.get_running_loop().call_later(_PATIENCE_S, child.slow_down)
        try:
            async with asyncio.timeout(self._limits.wait_s):
                return await child.frame()
        except TimeoutError as error:
            raise _death("PARSER_TIMEOUT", "no answer", b"", last) from error
        except asyncio.IncompleteReadError as error:
            raise await _end(child, last) from error
        except ValueError as error:
            raise _death("PARSER_CRASHED", "not a frame", b"", last) from error
        finally:
            impatience.cancel()


async def _end(child: ParserChild, last: Opening | Page) -> InvalidInput:
    try:
        async with asyncio.timeout(_END_S):
            status, stderr = await child.end()
    except TimeoutError:
        return _death("PARSER_CRASHED", "it closed its output and lives on", b"", last)
    return _death(_reason(status), f"exit status {status}", stderr, last)


def _reason(status: int) -> str:
    if status in _TIMEOUT_SIGNALS:
        return "PARSER_TIMEOUT"
    return "PARSER_MEMORY" if status == OUT_OF_MEMORY else "PARSER_CRASHED"


def _death(reason: str, how: str, stderr: bytes, last: Opening | Page) -> InvalidInput:
    PARSER_DEATHS.labels(reason).inc()
    log.warning("parser_died", reason=reason, how=how, stderr=stderr.decode(errors="replace"))
    page = last.number if isinstance(last, Page) else 0
    where = f"; it stopped after page {page}." if page else "."
    return InvalidInput(_MESSAGES[reason] + where, reason)
