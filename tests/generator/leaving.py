"""Readers who leave without a word, in every state an answer can be in, and what is left of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from rag.runtime.mesh import TENANT
from rag.runtime.server import serving
from rag.v1 import generator_pb2, generator_pb2_grpc
from services.gateway.settings import GatewaySettings
from services.gateway.wiring import wire
from tests.doubles.fixtures import ModelServer
from tests.generator.making import serving_generator
from tests.waiting import until

STATES = ("waiting", "streaming", "blocked")
DOORS = ("sse", "grpc")
_SCRIPTS: dict[str, dict[str, Any]] = {
    "waiting": {"hang": True},
    "streaming": {"text": "word " * 2_000, "delay_ms": 20},
    "blocked": {"flood": 300_000},
}
_MANY_TOKENS = 8_192

Leave = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Mesh:
    """A generator behind a gateway, in this process; the model is another."""

    http_port: int
    grpc_port: int
    model: ModelServer


@asynccontextmanager
async def mesh(retriever: str, model: ModelServer) -> AsyncIterator[Mesh]:
    """Serve both for the length of a block."""
    quick = {"port": 0, "lame_duck_ms": 0, "drain_grace_ms": 500}
    async with serving_generator(retriever, openai_base_url=model.base_url) as stub:
        settings = GatewaySettings(auth="off", http_port=0, generator_address=f"127.0.0.1:{stub.port}", **quick)
        async with wire(settings) as room, serving(settings, room) as port:
            yield Mesh(room.http_port, port, model)


async def leave_many(at: Mesh, state: str, door: str, readers: int) -> list[float]:
    """Let so many readers come into a state and leave at once; return the seconds after which the model saw each go."""
    at.model.reset()
    at.model.script(times=None, **_SCRIPTS[state])
    leaves = await asyncio.gather(*(_DOORS[door](at, f"{state} {door} {n}?", state) for n in range(readers)))
    await at.model.wait_received(readers - 1)
    if state == "blocked":
        await _all_blocked(at.model)
    began = time.perf_counter()
    await asyncio.gather(*(leave() for leave in leaves))
    return [await _seen_leaving(at.model, index, began) for index in range(readers)]


async def _seen_leaving(model: ModelServer, index: int, began: float) -> float:
    await model.wait_disconnect(index)
    return time.perf_counter() - began


async def _all_blocked(model: ModelServer) -> None:
    """Return when no model's answer goes on any more, because nobody reads."""
    last: list[int] = []

    async def stopped() -> bool:
        nonlocal last
        before, last = last, [seen["chunks"] for seen in await asyncio.to_thread(model.requests)]
        return bool(last) and min(last) > 0 and last == before

    await until(stopped)


async def _over_sse(at: Mesh, question: str, state: str) -> Leave:
    """Ask by a bare socket, which can be dropped as a process that dies drops it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", at.http_port, limit=2**16)
    body = json.dumps({"question": question, "stream": True, "max_tokens": _MANY_TOKENS}).encode()
    head = f"POST /v1/query HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await reader.readuntil(b"stage" if state == "waiting" else b"event: token")

    async def leave() -> None:
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    return leave


async def _over_grpc(at: Mesh, question: str, state: str) -> Leave:
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{at.grpc_port}", options=[("grpc.use_local_subchannel_pool", 1)])
    call = generator_pb2_grpc.GeneratorServiceStub(channel).Generate(
        generator_pb2.GenerateRequest(question=question, max_tokens=_MANY_TOKENS),
        metadata=((TENANT, "default"),),
        timeout=60,
    )
    wanted = "progress" if state == "waiting" else "token"
    while (await call.read()).WhichOneof("event") != wanted:
        pass
    return channel.close


_DOORS = {"sse": _over_sse, "grpc": _over_grpc}


def open_files() -> int:
    """Return how many file descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))
