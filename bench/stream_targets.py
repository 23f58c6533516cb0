"""What `make bench-stream` compares: processes that stream a model's answer, and how each is asked."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.streams import Connection, Target
from rag.cli.own_services import free_ports
from rag.runtime.settings import child_environment
from tests.doubles.fixtures import ModelServer
from tests.redis_server import running_redis
from tests.waiting import until

_START_S = 240.0
UNLIMITED = {"GATEWAY_LIMIT_STREAMS": "0", "GATEWAY_LIMIT_REQUESTS_PER_MINUTE": "0"}
"""For callers who are one tenant and ask as fast as they can: the books are kept, and refuse nobody."""


@asynccontextmanager
async def direct(model: ModelServer) -> AsyncIterator[Target]:
    """The model server itself."""
    yield Target("direct", model.port, "/v1/chat/completions", _chat, b"data: ", b'"content"', b"[DONE]")


@asynccontextmanager
async def relay(model: ModelServer, folder: Path) -> AsyncIterator[Target]:
    """One FastAPI process with the openai client."""
    (port,) = free_ports(1)
    target = Target("fastapi", port, "/v1/query", _question, b"event: token", b"event: token", b"event: done")
    with running([["bench.relay_app", str(port), model.base_url]], folder):
        await _answering(target)
        yield target


@asynccontextmanager
async def ragmesh(model: ModelServer, folder: Path, **settings: str) -> AsyncIterator[Target]:
    """Gateway and generator with a Redis, in front of a retriever that answers at once."""
    async with services(model, folder, **settings) as ports:
        yield _gateway(ports)


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the services of a measurement listen."""

    retriever: int
    generator: int
    gateway: int
    http: int


@asynccontextmanager
async def services(model: ModelServer, folder: Path, **settings: str) -> AsyncIterator[Ports]:
    """The processes of `ragmesh`, and where they listen."""
    ports = Ports(*free_ports(4))
    with running_redis(folder) as redis_url:
        known = {**environment(ports, model, folder, redis_url), "GATEWAY_AUTH": "off", **UNLIMITED, **settings}
        with running(modules(ports), folder, known):
            await _answering(_gateway(ports))
            yield ports


def modules(ports: Ports) -> list[list[str]]:
    """The commands of the processes."""
    return [["bench.quiet_retriever", str(ports.retriever)], ["services.generator"], ["services.gateway"]]


def environment(ports: Ports, model: ModelServer, folder: Path, redis_url: str) -> dict[str, str]:
    """The settings that they have in common."""
    return {
        "REDIS_URL": redis_url,
        "RAG_DATA_DIR": str(folder),
        "RAG_LOG_LEVEL": "WARNING",
        "OPENAI_BASE_URL": model.base_url,
        **{f"{room}_ADDRESS": f"127.0.0.1:{ports.retriever}" for room in ("RETRIEVER", "EMBEDDER", "INGESTOR")},
        "GENERATOR_ADDRESS": f"127.0.0.1:{ports.generator}",
        "GENERATOR_PORT": str(ports.generator),
        "GENERATOR_METRICS_PORT": "0",
        "GENERATOR_SEMANTIC_THRESHOLD": "0",  # no question is taken for another one
        "GATEWAY_PORT": str(ports.gateway),
        "GATEWAY_HTTP_PORT": str(ports.http),
    }


def _gateway(ports: Ports) -> Target:
    return Target("ragmesh", ports.http, "/v1/query", _question, b"event: accepted", b"event: token", b"event: done")


@contextmanager
def running(commands: Sequence[Sequence[str]], folder: Path, known: dict[str, str] | None = None) -> Iterator[None]:
    """Run Python modules as processes for the length of a block; what they say is in files of the folder."""
    with ExitStack() as stack:
        for module in commands:
            log = stack.enter_context((folder / f"{module[0]}.log").open("wb"))
            command = [sys.executable, "-m", *module]
            settings = child_environment(**(known or {}))
            process = stack.enter_context(subprocess.Popen(command, env=settings, stdout=log, stderr=log))
            stack.callback(process.terminate)
        yield


async def _answering(target: Target) -> None:
    async def answers() -> bool:
        connection = Connection(target)
        try:
            await connection.ask("Are you there?")
        except (OSError, RuntimeError, asyncio.IncompleteReadError):
            return False
        finally:
            connection.close()
        return True

    await until(answers, _START_S)


def _question(question: str) -> dict[str, Any]:
    return {"question": question, "stream": True}


def _chat(question: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}]
    return {"model": "bench", "messages": messages, "stream": True, "stream_options": {"include_usage": True}}
