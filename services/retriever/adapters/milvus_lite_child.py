"""The embedded Milvus: the C++ engine of milvus-lite 2.5 as a child process of ours, on a unix socket."""

from __future__ import annotations

import asyncio
import fcntl
import importlib.util
import shutil
import tempfile
from pathlib import Path
from typing import IO

from rag.runtime.errors import FailedPrecondition, Unavailable
from rag.runtime.logs import get_logger
from rag.runtime.settings import child_environment
from services.retriever.metrics import ENGINE_RESTARTS

_START_S = 10.0
_STOP_S = 2.0
_POLL_S = 0.01

log = get_logger(__name__)


class MilvusLiteChild:
    """One engine over one file. The package's own launcher blocks for 0.5 s and cannot tell that its child died.

    The engine watches a lock that this process holds, and exits by itself soon after we are gone, by SIGKILL too.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._sockets = Path(tempfile.gettempdir())
        self._lock: IO[str] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._starts = 0
        self._starting = asyncio.Lock()

    @property
    def database(self) -> Path:
        """The engine's one file, in SQLite's format."""
        return self._folder / "ragmesh.db"

    @property
    def pid(self) -> int | None:
        """The engine's process id, None while none runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def open(self) -> None:
        """Take the folder for this process alone.

        Raises:
            FailedPrecondition: INDEX_IN_USE when another process has it.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = (self._folder / "engine.lock").open("a")
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            message = f"Another process uses the index in {self._folder}."
            raise FailedPrecondition(message, "INDEX_IN_USE") from error
        self._lock = lock
        # Not in the data folder: a socket's path must be short.
        self._sockets = Path(tempfile.mkdtemp(prefix="ragmesh-"))

    async def address(self) -> str:
        """Return where the engine listens, starting it when none runs; each start has an address of its own.

        Raises:
            Unavailable: INDEX_UNAVAILABLE when it does not come up.
        """
        async with self._starting:
            if self.pid is None:
                await self._start()
        return f"unix:{self._socket()}"

    async def close(self) -> None:
        """Stop the engine and let go of the folder."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()  # what it acknowledged is on disk
            try:
                async with asyncio.timeout(_STOP_S):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        if self._lock is not None:
            self._lock.close()
        shutil.rmtree(self._sockets, ignore_errors=True)

    async def _start(self) -> None:
        if self._process is not None:
            log.warning("index_engine_died", exit_code=self._process.returncode)
            ENGINE_RESTARTS.inc()
        self._starts += 1
        library = _library()
        with self._fresh_log().open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                library / "milvus",
                self.database,
                f"unix:{self._socket()}",
                "ERROR",
                self._folder / "engine.lock",
                cwd=self._folder,
                env=child_environment(LD_LIBRARY_PATH=str(library), TMPDIR=str(self._fresh_temporary())),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a Ctrl-C is for us: we stop it after the calls that need it
            )
        await self._await_socket(self._process)
        log.info("index_engine_started", pid=self._process.pid)

    async def _await_socket(self, process: asyncio.subprocess.Process) -> None:
        try:
            async with asyncio.timeout(_START_S):
                while process.returncode is None:
                    if await _accepts(self._socket()):
                        return
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            process.kill()
        code = await process.wait()
        message = "The index does not start; engine.log in its folder says why."
        raise Unavailable(message, "INDEX_UNAVAILABLE", exit_code=str(code))

    def _fresh_log(self) -> Path:
        log_file = self._folder / "engine.log"
        if log_file.exists():  # the last words of an engine that died are worth keeping
            log_file.replace(self._folder / "engine.previous.log")
        return log_file

    def _fresh_temporary(self) -> Path:
        # It keeps logs of its own there, a line per call and new files at each start, and removes none.
        folder = self._folder / "tmp"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def _socket(self) -> Path:
        return self._sockets / f"{self._starts}.sock"


async def _accepts(socket: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(socket)
    except OSError:
        return False
    writer.close()
    return True


def _library() -> Path:
    # Found, not imported: importing the package warns about pkg_resources.
    spec = importlib.util.find_spec("milvus_lite")
    if spec is None or not spec.submodule_search_locations:
        message = "milvus-lite is not installed; MILVUS_URI can name a Milvus server instead."
        raise FailedPrecondition(message, "INDEX_MISSING")
    return Path(spec.submodule_search_locations[0]) / "lib"
