"""The services of ingestion as processes that can be killed one by one and started again, over a real Redis and engine."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from rag import own_redis
from rag.cli.own_services import free_ports
from rag.runtime.probe import check
from rag.runtime.settings import child_environment
from services.embedded_redis import command, find_binary
from tests.doubles.fixtures import ModelServer
from tests.process_table import is_stopped, stop
from tests.redis_server import answers
from tests.waiting import until_sync
from tests.warm import SERVICES, WarmProcess

ENGINE = "engine"
REDIS = "redis"
QUICK = {"INGESTOR_LEASE_MS": "1000", "INGESTOR_HEARTBEAT_MS": "200"}
"""A worker's death is noticed within about a second instead of ten."""
SMALL_BATCHES = {
    "INGESTOR_PASSAGE_TOKENS": "64",
    "INGESTOR_PASSAGE_OVERLAP_TOKENS": "0",
    "INGESTOR_EMBED_BATCH_TOKENS": "256",
}
"""A short text then has a few batches."""


@dataclass
class Mesh:
    """What runs, and how to reach it."""

    folder: Path
    environment: Mapping[str, str]
    ports: dict[str, int]
    processes: dict[str, subprocess.Popen[bytes] | WarmProcess] = field(default_factory=dict)

    @property
    def redis_url(self) -> str:
        return own_redis.url_of(self.folder)

    def address(self, service: str) -> str:
        return f"127.0.0.1:{self.ports[service]}"

    def start(self, name: str, *, failpoint: str = "", service: str = "") -> None:
        """Start a service or Redis and wait until it serves; with a failpoint it dies there.

        Args:
            name: What it is called from now on.
            failpoint: As in RAG_FAILPOINT.
            service: Which service it is, when one more of a kind that runs already is started.
        """
        service = service or name
        (self.folder / name).mkdir(parents=True, exist_ok=True)
        if name not in self.ports:
            self.ports[name] = free_ports(1)[0]
        port = {f"{service.upper()}_PORT": str(self.ports[name])}
        environment = child_environment(**{**self.environment, **port}, RAG_FAILPOINT=failpoint)
        if name == REDIS:
            with self.log(name).open("ab") as log:
                arguments = command(find_binary(), self.folder / REDIS)
                self.processes[name] = subprocess.Popen(arguments, env=environment, stdout=log, stderr=log)
        else:
            self.processes[name] = WarmProcess(service, environment, self.log(name))
        until_sync(lambda: self._serves(name), 60)

    def kill(self, name: str) -> None:
        """End a service, Redis or the retriever's engine at once, as a crash would."""
        if name == ENGINE:
            self.engine().kill()
            return
        process = self.processes[name]
        process.kill()
        process.wait()

    def pause(self, name: str) -> None:
        """Stop a service in its tracks, until `resume`."""
        stop(self.processes[name].pid)

    def resume(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGCONT)

    def is_running(self, name: str) -> bool:
        return self.processes[name].poll() is None

    def wait_dead(self, name: str) -> None:
        """Wait until a failpoint has killed the service."""
        until_sync(lambda: not self.is_running(name), 60, lambda: self.tail(name))
        assert self.processes[name].poll() == -signal.SIGKILL, self.tail(name)

    def wait_stopped(self, name: str) -> None:
        """Wait until a failpoint has stopped the service."""
        until_sync(lambda: self._is_stopped(name), 60)

    def engine(self) -> psutil.Process:
        """The retriever's index engine."""
        children = psutil.Process(self.processes["retriever"].pid).children(recursive=True)
        return next(child for child in children if child.name().startswith("milvus"))

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def tail(self, name: str) -> str:
        return self.log(name).read_text(errors="replace")[-4000:]

    def stop(self) -> None:
        for name in reversed(list(self.processes)):
            process = self.processes[name]
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def _is_stopped(self, name: str) -> bool:
        return is_stopped(self.processes[name].pid)

    def _serves(self, name: str) -> bool:
        assert self.processes[name].poll() in {None, -signal.SIGKILL}, f"{name} died:\n{self.tail(name)}"
        if name == REDIS:
            return answers(self.redis_url)
        if self.processes[name].poll() is not None or self._is_stopped(name):
            return True  # it reached its failpoint already
        return check(self.address(name), "", 1.0) == "SERVING"


def embedded_by(model: ModelServer) -> dict[str, str]:
    """The settings with which the double embeds, and counts what it embeds."""
    return {"EMBEDDER_PROVIDER": "openai", "OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": "none"}


@contextmanager
def running_mesh(folder: Path, **settings: str) -> Iterator[Mesh]:
    """Run Redis, embedder, retriever, ingestor and generator for the length of a block.

    Args:
        folder: Their data; a short path, because a socket stands in it.
        settings: More environment variables.
    """
    ports = dict(zip(SERVICES, free_ports(len(SERVICES)), strict=True))
    mesh = Mesh(folder, {}, ports)
    mesh.environment = {
        **{f"{name.upper()}_PORT": str(port) for name, port in ports.items()},
        **{f"{name.upper()}_ADDRESS": mesh.address(name) for name in SERVICES},
        **{f"{name.upper()}_METRICS_PORT": "0" for name in SERVICES},
        **{f"{name.upper()}_LAME_DUCK_MS": "0" for name in SERVICES},
        "REDIS_URL": mesh.redis_url,
        "RAG_DATA_DIR": str(folder),
        "RETRIEVER_ENGINE_LINGER_S": "0",
        **QUICK,
        **settings,
    }
    try:
        for name in (REDIS, *SERVICES):
            mesh.start(name)
        yield mesh
    finally:
        mesh.stop()
