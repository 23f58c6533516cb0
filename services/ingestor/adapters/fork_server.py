"""The process that forks parser children, as the ingestor sees it."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from rag.runtime.errors import Internal, Unavailable
from rag.runtime.logs import get_logger
from rag.runtime.tasks import unbroken
from services.ingestor.adapters.parser_child import ParserChild
from services.ingestor.frames import NO_CHILD, NO_READER, ReadRequest

log = get_logger(__name__)

_START_S = 60.0
"""The longest that a child may take to begin, the loading of its library included."""
_STOP_S = 5.0


@dataclass(frozen=True, slots=True)
class _Running:
    process: asyncio.subprocess.Process
    control: socket.socket


class ForkServer:
    """Forks a child per document. A server that has died is started again for the next document."""

    def __init__(self, module: str = "services.ingestor.readers") -> None:
        self._module = module
        self._running: _Running | None = None
        self._starting = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(cls, module: str = "services.ingestor.readers") -> AsyncIterator[ForkServer]:
        """Start the server, which is a module to run; stop it and all its children at the end."""
        server = cls(module)
        try:
            await server._control()
            yield server
        finally:
            await unbroken(server._stop())

    async def fork(self, request: ReadRequest) -> ParserChild:
        """Start the child of one document.

        Raises:
            Unavailable: PARSER_RESTARTED, PARSER_BUSY.
            Internal: READER_BROKEN.
        """
        ends = await self._pass_on(request)
        child = await ParserChild.connect(*ends)
        try:
            async with asyncio.timeout(_START_S):
                refused = await child.begun()
        except TimeoutError as error:
            await child.stop()
            await unbroken(self._stop())
            raise _restarted() from error
        except BaseException:
            await child.stop()
            raise
        if refused is not None:
            await child.stop()
            raise _refusal(refused)
        return child

    async def _pass_on(self, request: ReadRequest) -> tuple[socket.socket, int, int]:
        for _ in range(2):
            control = await self._control()
            try:
                return _passed_on(control, request)
            except BlockingIOError as error:
                raise Unavailable("Too many documents wait for their parser.", "PARSER_BUSY") from error
            except ConnectionError as error:
                log.warning("parser_server_died", cause=repr(error))
                await unbroken(self._stop())
        raise _restarted()

    async def _control(self) -> socket.socket:
        async with self._starting:
            if self._running is None:
                self._running = await unbroken(_started(self._module))
            return self._running.control

    async def _stop(self) -> None:
        running, self._running = self._running, None
        if running is None:
            return
        # It ends its children and itself when its socket is closed.
        running.control.close()
        try:
            async with asyncio.timeout(_STOP_S):
                await running.process.wait()
        except TimeoutError:
            running.process.kill()
            await running.process.wait()


async def _started(module: str) -> _Running:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)  # noqa: FBT003 - the standard library's name
    with theirs:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "ignore", "-m", module),
            stdin=theirs.fileno(),
            stdout=asyncio.subprocess.DEVNULL,
            # Nothing of ours: no key, no address.
            env={
                "PYTHONPATH": ":".join(entry or "." for entry in sys.path),
                "PYTHONDONTWRITEBYTECODE": "1",
                "OPENBLAS_NUM_THREADS": "1",
            },
        )
    return _Running(process, ours)


def _passed_on(control: socket.socket, request: ReadRequest) -> tuple[socket.socket, int, int]:
    """Send the request with the far ends of what connects us to the child; return the near ends."""
    ours, theirs = socket.socketpair()
    out, err = os.pipe(), os.pipe()
    far = [theirs.detach(), out[1], err[1]]
    try:
        ours.setblocking(False)  # noqa: FBT003 - the standard library's name
        socket.send_fds(ours, [request.encode()], far[1:])
        socket.send_fds(control, [b"\0"], far[:1])
    except BaseException:
        ours.close()
        far += [out[0], err[0]]
        raise
    finally:
        for fd in far:
            os.close(fd)
    return ours, out[0], err[0]


def _refusal(status: int) -> Unavailable | Internal:
    if status == NO_CHILD:
        return Unavailable("There is no room for another parser now.", "PARSER_BUSY")
    if status == NO_READER:
        return Internal("The reader of this type does not load; the cause is in the log.", "READER_BROKEN")
    return _restarted()


def _restarted() -> Unavailable:
    return Unavailable("The process that reads documents died and is started again.", "PARSER_RESTARTED")
