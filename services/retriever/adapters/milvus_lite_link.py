"""The retriever's connection to the keeper of its engine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from rag.runtime.logs import get_logger

log = get_logger(__name__)


class EngineLink(asyncio.Protocol):
    """Open as long as the engine runs and this retriever is in charge of it."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._greeted: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._text = b""

    @classmethod
    async def open(cls, socket: Path) -> EngineLink | None:
        """Return a link to the engine kept at `socket`, None when none is kept there any more."""
        try:
            _, link = await asyncio.get_running_loop().create_unix_connection(cls, str(socket))
        except OSError:
            return None
        with link.closed_on_failure():
            return link if await link.greeted() else None

    @contextmanager
    def closed_on_failure(self) -> Iterator[None]:
        """Close the link when the block fails or is left: an engine that nobody has must not go on."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    async def greeted(self) -> bool:
        """Wait for the keeper's greeting; False when the link closed without one."""
        return await self._greeted is not None

    @property
    def is_open(self) -> bool:
        """Whether the engine runs, as far as is known."""
        return self._transport is not None

    @property
    def pid(self) -> int | None:
        """The engine's process id."""
        return self._greeted.result() if self.is_open and self._greeted.done() else None

    def say(self, line: str) -> None:
        """Tell the keeper something; see `milvus_lite_keeper`."""
        if self._transport is not None:
            self._transport.write(f"{line}\n".encode())

    def close(self) -> None:
        """Leave the engine to its keeper."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what leads to the keeper."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take in what the keeper says."""
        *lines, self._text = (self._text + data).split(b"\n")
        for line in lines:
            word, number = line.split()
            if word == b"engine" and not self._greeted.done():
                self._greeted.set_result(int(number))
            elif word == b"exit":
                log.warning("index_engine_died", exit_code=int(number))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio names it
        """Notice that the engine, or its keeper, is gone."""
        self._transport = None
        if not self._greeted.done():
            self._greeted.set_result(None)
