"""The real process tree for tests: on ports of its own, in a folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from rag.cli.own_services import free_ports
from rag.runtime.probe import check
from services.tree import SERVICES
from tests.process_table import arguments

ROOT = Path(__file__).resolve().parents[2]
START_LIMIT_S = 180.0
STOP_LIMIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Tree:
    """A running tree and where to reach it."""

    process: subprocess.Popen[bytes]
    ports: Mapping[str, int]
    http_port: int
    log: Path

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.ports['gateway']}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def members(self) -> list[psutil.Process]:
        """The process itself and everything below it."""
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    def pid_of(self, service: str) -> int:
        return next(p.pid for p in self.members() if f"services.{service}" in arguments(p))


@contextmanager
def running_tree(folder: Path, models: Path | None = None, **settings: str) -> Iterator[Tree]:
    """Run `python -m services` for the length of a block.

    Args:
        folder: Its data; a short path, because a socket stands in it.
        models: Where the built model is kept between trees.
        settings: More environment variables.
    """
    *grpc_ports, http_port = free_ports(len(SERVICES) + 1)
    ports = dict(zip(SERVICES, grpc_ports, strict=True))
    folder.mkdir(parents=True, exist_ok=True)
    if models:
        models.mkdir(parents=True, exist_ok=True)
        (folder / "models").symlink_to(models, target_is_directory=True)
    environment = {
        **os.environ,
        **{f"{name.upper()}_PORT": str(port) for name, port in ports.items()},
        **{f"{name.upper()}_METRICS_PORT": "0" for name in SERVICES},
        "GATEWAY_HTTP_PORT": str(http_port),
        "RAG_DATA_DIR": str(folder),
        **settings,
    }
    log = folder / "tree.log"
    with serving("services", f"127.0.0.1:{ports['gateway']}", environment, log) as process:
        yield Tree(process, ports, http_port, log)


@contextmanager
def serving(module: str, address: str, environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Python module that serves at an address for the length of a block."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module], cwd=ROOT, env=environment, stdout=output, stderr=output
        )
    try:
        end = time.monotonic() + START_LIMIT_S
        while check(address, "", 1.0) != "SERVING":
            assert process.poll() is None, f"{module} died:\n{log.read_text()[-4000:]}"
            assert time.monotonic() < end, f"{module} is not SERVING:\n{log.read_text()[-4000:]}"
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process as Ctrl-C does, and by force when it does not end."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
