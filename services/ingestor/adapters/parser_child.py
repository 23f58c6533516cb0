"""One parser child, as the ingestor sees it: what it says, how it ends, and how it is stopped."""

from __future__ import annotations

import asyncio
import json
import os
import socket

from rag.runtime.errors import Unavailable
from rag.runtime.tasks import cancel_all
from services.ingestor import frames

_PIPE_BYTES = 65_536
_STDERR_BYTES = 8192
_STOP_S = 5.0


class ParserChild:
    """A child that the parser server forked for us. Stop it in any case: that ends it and closes what connects us."""

    def __init__(
        self,
        session: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        stdout: tuple[asyncio.StreamReader, asyncio.ReadTransport],
        stderr: tuple[asyncio.StreamReader, asyncio.ReadTransport],
    ) -> None:
        self._answers, self._orders = session
        self._frames, self._stdout = stdout
        self._errors, self._stderr = stderr
        self._tail = asyncio.create_task(_tail(self._errors), name="parser-stderr")
        self.pid = 0

    @classmethod
    async def connect(cls, session: socket.socket, stdout: int, stderr: int) -> ParserChild:
        """Take over the near ends of a child's socket and pipes."""
        pipes = [os.fdopen(fd, "rb", buffering=0) for fd in (stdout, stderr)]
        opened: list[asyncio.StreamWriter | asyncio.ReadTransport] = []
        try:
            reader, writer = await asyncio.open_unix_connection(sock=session)
            opened.append(writer)
            ends = []
            for pipe in pipes:
                ends.append(await _reading(pipe))
                opened.append(ends[-1][1])
        except BaseException:
            for one in (session, *pipes, *opened):
                one.close()
            raise
        return cls((reader, writer), ends[0], ends[1])

    async def begun(self) -> int | None:
        """Wait until the child runs: None. Else the status with which the server refused to start it.

        Raises:
            Unavailable: PARSER_RESTARTED.
        """
        answer = await self._answer()
        self.pid = answer.get("pid", 0)
        return answer.get("exit")

    async def frame(self) -> frames.Frame:
        """The next frame. Raises asyncio.IncompleteReadError when the child has ended, ValueError when it is none."""
        (size,) = frames.HEADER.unpack(await self._frames.readexactly(frames.HEADER.size))
        return frames.decode(await self._frames.readexactly(frames.checked(size)))

    def slow_down(self) -> None:
        """Let everybody else go before the child from now on."""
        self._orders.write(frames.SLOW_DOWN)

    async def end(self) -> tuple[int, bytes]:
        """The exit status of a child that has closed its standard output, and the last of what it wrote as errors.

        Raises:
            Unavailable: PARSER_RESTARTED when the server died: nobody knows how the child ended.
        """
        status = (await self._answer())["exit"]
        return status, await self._tail

    async def stop(self) -> None:
        """Kill the child if it runs, and wait until it is gone."""
        try:
            async with asyncio.timeout(_STOP_S):
                if self._orders.can_write_eof():
                    self._orders.write_eof()
                while await self._answers.read(_PIPE_BYTES):
                    pass
        except (TimeoutError, OSError):
            pass  # the server is stopped or gone; with it goes the child
        finally:
            self._orders.close()
            self._stdout.close()
            self._stderr.close()
            await cancel_all([self._tail])

    async def _answer(self) -> dict[str, int]:
        try:
            line = await self._answers.readline()
        except ConnectionError:
            line = b""
        if not line.endswith(b"\n"):
            message = "The process that reads documents died and is started again."
            raise Unavailable(message, "PARSER_RESTARTED")
        return {str(key): int(value) for key, value in json.loads(line).items()}


async def _reading(pipe: object) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    reader = asyncio.StreamReader(limit=_PIPE_BYTES)
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
    return reader, transport


async def _tail(stream: asyncio.StreamReader) -> bytes:
    tail = b""
    while piece := await stream.read(_STDERR_BYTES):
        tail = (tail + piece)[-_STDERR_BYTES:]
    return tail
