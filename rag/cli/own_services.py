"""The services as a child of this process, for as long as a command needs them."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from rag.runtime.errors import Unavailable

ROOT = Path(__file__).resolve().parents[2]
_STOP_S = 15.0
_POLL_S = 0.1
_PORTS = range(15_000, 32_000)
"""Below those that the system gives to outgoing connections, which come and go all the time."""
_ROOMS = ("gateway", "embedder", "retriever", "generator", "ingestor")
_SHARED_STORES = ("REDIS_URL", "MILVUS_URI", "MILVUS_TOKEN")


@dataclass(frozen=True, slots=True)
class Private:
    """Services that share nothing with others on this machine: their environment, their folder, and the ports by name."""

    environment: Mapping[str, str]
    folder: Path
    ports: Mapping[str, int]

    def address(self, room: str) -> str:
        """Where a service listens, as `host:port`."""
        return f"127.0.0.1:{self.ports[room]}"


def private(folder: Path, models: Path) -> Private:
    """Return how to start services with stores and ports of their own; all other settings are those of this process.

    Args:
        folder: Their data. It is also where they run: a `.env` here would name the stores of others.
        models: Where built models are kept, for all such folders.
    """
    from dotenv import dotenv_values

    from rag.runtime.settings import child_environment

    folder, models = folder.resolve(), models.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    models.mkdir(parents=True, exist_ok=True)
    if not (folder / "models").exists():
        (folder / "models").symlink_to(models, target_is_directory=True)
    settings = {name: value for name, value in dotenv_values(".env").items() if value}
    kept = {
        name: value for name, value in {**settings, **child_environment()}.items() if name.upper() not in _SHARED_STORES
    }
    *grpc, http = free_ports(len(_ROOMS) + 1)
    ports = dict(zip(_ROOMS, grpc, strict=True))
    own = {
        **{f"{room.upper()}_PORT": str(port) for room, port in ports.items()},
        **{f"{room.upper()}_HOST": "127.0.0.1" for room in _ROOMS},
        **{f"{room.upper()}_METRICS_PORT": "0" for room in _ROOMS},
        "GATEWAY_HTTP_PORT": str(http),
        "GATEWAY_HTTP_HOST": "127.0.0.1",
        "RAG_DATA_DIR": str(folder),
        "PYTHONPATH": str(ROOT),
    }
    return Private({**kept, **own}, folder, {**ports, "http": http})


@asynccontextmanager
async def started(
    console: Console, log: Path, is_serving: Callable[[], Awaitable[bool]], own: Private | None = None
) -> AsyncIterator[None]:
    """Run all services for the length of a block, with their output in `log`.

    Raises:
        Unavailable: START_FAILED.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    environment, folder = (own.environment, own.folder) if own else (None, None)
    with log.open("w") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services", stdout=output, stderr=output, env=environment, cwd=folder
        )
        try:
            with _sigterm_is_ctrl_c():
                with console.status(f"starting five services and a Redis (log: {log})"):
                    await _until_serving(is_serving, process, log)
                console.print(f"five services are serving after {time.monotonic() - began:.1f} s  (log: {log})")
                yield
        finally:
            await _stop(process)
    console.print("all services stopped")


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now."""
    found: list[int] = []
    candidates = random.SystemRandom().sample(_PORTS, len(_PORTS))
    while len(found) < count:
        port = candidates.pop()
        if _is_free(port):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


async def _until_serving(
    is_serving: Callable[[], Awaitable[bool]], process: asyncio.subprocess.Process, log: Path
) -> None:
    while not await is_serving():
        if process.returncode is not None:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            message = f"The services did not start. The end of {log}:\n{tail}"
            raise Unavailable(message, "START_FAILED")
        await asyncio.sleep(_POLL_S)


@contextmanager
def _sigterm_is_ctrl_c() -> Iterator[None]:
    """Whoever ends this process gently must not leave its services behind."""
    told, task, loop = asyncio.Event(), asyncio.current_task(), asyncio.get_running_loop()

    def tell() -> None:
        told.set()
        if task is not None:
            task.cancel()

    loop.add_signal_handler(signal.SIGTERM, tell)
    try:
        yield
    except asyncio.CancelledError:
        if told.is_set():
            raise KeyboardInterrupt from None
        raise
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(_STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
