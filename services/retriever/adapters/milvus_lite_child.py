"""The embedded Milvus: the C++ engine of milvus-lite 2.5 on a unix socket, kept by a process that outlives us for a while."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pymilvus import AsyncMilvusClient, MilvusException

from rag.runtime.errors import Unavailable
from rag.runtime.logs import get_logger
from rag.runtime.settings import child_environment
from services.retriever.adapters import milvus_lite_keeper
from services.retriever.adapters.milvus_lite_folder import EngineFolder, library
from services.retriever.adapters.milvus_lite_link import EngineLink
from services.retriever.metrics import ENGINE_RESTARTS

_START_S = 10.0
_STOP_S = 4.0
_ANSWER_S = 3.0
_POLL_S = 0.01
_KEEPER, _ENGINE = "keeper.sock", "engine.sock"

log = get_logger(__name__)


class MilvusLiteChild:
    """One engine over one file. The package's own launcher blocks for 0.5 s and cannot tell that its child died.

    The engine takes in its rows one by one when it starts, which takes long when they are many: a retriever that is started
    again soon finds the engine of the one before it, with all its rows. The engine ends when its keeper dies, by SIGKILL too.

    Args:
        folder: Where its file is, and what tells the next retriever about it.
        linger_s: How long the engine outlives this process; 0 for not at all.
    """

    def __init__(self, folder: Path, linger_s: float = 0.0) -> None:
        self._folder = EngineFolder(folder)
        self._linger_s = linger_s
        self._owned: IO[str] | None = None
        self._link: EngineLink | None = None
        self._sockets = Path()
        self._keeper: subprocess.Popen[bytes] | None = None
        self._starting = asyncio.Lock()

    @property
    def database(self) -> Path:
        """The engine's one file, in SQLite's format."""
        return self._folder.database

    @property
    def pid(self) -> int | None:
        """The engine's process id, None while none runs."""
        return self._link.pid if self._link is not None else None

    async def open(self) -> None:
        """Take the folder for this process alone.

        Raises:
            FailedPrecondition: INDEX_IN_USE when another process has it.
        """
        self._owned = self._folder.own()

    async def address(self) -> str:
        """Return where the engine listens, starting it when none runs; each start has an address of its own.

        Raises:
            Unavailable: INDEX_UNAVAILABLE when it does not come up.
        """
        async with self._starting:
            if self._link is None or not self._link.is_open:
                await self._connect()
        return self._address()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Mark a write: an engine in the midst of one does not outlive us, because the next retriever could not wait for it.

        A write that failed may go on in the engine, so its mark stays.
        """
        link = self._link
        if link is not None:
            link.say("write")
        yield
        if link is not None:
            link.say("done")

    async def close(self) -> None:
        """Leave the engine to its keeper, or stop it when it shall not outlive us; let go of the folder."""
        lingers = self._linger_s > 0 and self.pid is not None
        if self._link is not None:
            self._link.close()
        if self._owned is None:
            return
        if not lingers:
            await self._until_gone()
        self._owned.close()

    async def _until_gone(self) -> None:
        try:
            async with asyncio.timeout(_STOP_S):
                while (alive := self._folder.take_alive()) is None:
                    await asyncio.sleep(_POLL_S)
            alive.close()
        except TimeoutError:
            log.warning("index_engine_does_not_stop")
        else:
            await self._reap()

    async def _reap(self) -> None:
        if self._keeper is not None:
            await asyncio.to_thread(self._keeper.wait)

    async def _connect(self) -> None:
        if self._link is not None:
            ENGINE_RESTARTS.inc()
            self._link = None
        try:
            async with asyncio.timeout(_START_S):
                # Two engines on one file would each forget what the other writes.
                while (alive := self._folder.take_alive()) is None:
                    if link := await self._adopted():
                        break
                    await asyncio.sleep(_POLL_S)
                else:
                    link = await self._started(alive)
        except TimeoutError as error:
            raise _not_up() from error
        link.say(f"linger {self._linger_s}")
        self._link = link

    async def _adopted(self) -> EngineLink | None:
        """Return a link to the engine that the retriever before this one left, when it is what we would start."""
        remembered = self._folder.remembered()
        if remembered is None:
            return None
        self._sockets, is_ours = remembered
        link = await EngineLink.open(self._sockets / _KEEPER)
        if link is None:
            return None
        with link.closed_on_failure():
            if is_ours and await _answers(self._address()):
                log.info("index_engine_taken_over", pid=link.pid)
                return link
        log.warning("index_engine_not_taken_over", pid=link.pid)
        link.close()  # nobody said that it shall linger
        return None

    async def _started(self, alive: IO[str]) -> EngineLink:
        with alive:
            await self._reap()
            self._folder.forget()
            # Not in the data folder: a socket's path must be short.
            self._sockets = Path(tempfile.mkdtemp(prefix="ragmesh-"))
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(self._sockets / _KEEPER))
                listener.listen(1)
                self._keeper = self._spawn(listener, alive)
        link = await EngineLink.open(self._sockets / _KEEPER)
        if link is None:
            raise _not_up()
        with link.closed_on_failure():
            while not await _accepts(self._sockets / _ENGINE):
                if not link.is_open:
                    raise _not_up()
                await asyncio.sleep(_POLL_S)
        self._folder.remember(self._sockets)
        log.info("index_engine_started", pid=link.pid)
        return link

    def _spawn(self, listener: socket.socket, alive: IO[str]) -> subprocess.Popen[bytes]:
        files, lock = library(), self._folder.engine_lock
        descriptors = listener.fileno(), alive.fileno()
        # Only the engine gets its libraries: Python has its own.
        engine: list[str | Path] = ["/usr/bin/env", f"LD_LIBRARY_PATH={files}", files / "milvus"]
        script: list[str | Path] = [sys.executable, "-I", "-S", milvus_lite_keeper.__file__, *map(str, descriptors)]
        log_file = self._folder.fresh_log()
        with log_file.open("wb") as output:
            return subprocess.Popen(  # noqa: S603 - its parts are our own
                [*script, lock, log_file, *engine, self.database, self._address(), "ERROR", lock],
                cwd=self._folder.path,
                env=child_environment(TMPDIR=str(self._folder.fresh_temporary())),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=descriptors,
                start_new_session=True,  # a Ctrl-C is for us: we stop it after the calls that need it
            )

    def _address(self) -> str:
        return f"unix:{self._sockets / _ENGINE}"


def _not_up() -> Unavailable:
    return Unavailable("The index does not start; engine.log in its folder says why.", "INDEX_UNAVAILABLE")


async def _accepts(path: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return False
    writer.close()
    return True


async def _answers(address: str) -> bool:
    client = AsyncMilvusClient(address, timeout=_ANSWER_S, dedicated=True)
    try:
        await client.list_collections(timeout=_ANSWER_S)
    except MilvusException:
        return False
    finally:
        await client.close()
    return True
