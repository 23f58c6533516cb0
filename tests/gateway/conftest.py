"""A whole gateway - uvicorn and gRPC on real ports - in front of steerable services."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import grpc
import httpx
import pytest

from rag.runtime.server import serving
from rag.runtime.settings import ServiceSettings
from services.gateway.settings import GatewaySettings
from services.gateway.wiring import wire
from tests.gateway.backends import Backends
from tests.waiting import until

QUICK = {"lame_duck_ms": 0, "drain_grace_ms": 1_000, "port": 0}
OPEN = {"auth": "off", "http_port": 0, "key_pepper": "p" * 32}


@dataclass
class Gateway:
    backends: Backends
    http: httpx.AsyncClient
    http_port: int
    grpc_port: int
    channel: grpc.aio.Channel


@pytest.fixture
def open_gateway(redis_url: str) -> Callable[..., AbstractAsyncContextManager[Gateway]]:
    return partial(_open, redis_url=redis_url)


@pytest.fixture
async def gateway(redis_url: str) -> AsyncIterator[Gateway]:
    async with _open(redis_url=redis_url) as opened:
        yield opened


@asynccontextmanager
async def _open(**changes: object) -> AsyncIterator[Gateway]:
    backends = Backends()
    async with serving(ServiceSettings(**QUICK), backends.room()) as port:
        settings = settings_for(port, **changes)
        async with (
            wire(settings) as room,
            serving(settings, room) as grpc_port,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{room.http_port}", timeout=20) as http,
            grpc.aio.insecure_channel(f"127.0.0.1:{grpc_port}") as channel,
        ):
            await until(lambda: ready(http) if "generator_address" not in changes else True)
            yield Gateway(backends, http, room.http_port, grpc_port, channel)


def settings_for(services: int, **changes: object) -> GatewaySettings:
    """The settings of a gateway in front of services that all listen on one port."""
    addresses = {
        f"{name}_address": f"127.0.0.1:{services}" for name in ("embedder", "retriever", "generator", "ingestor")
    }
    return GatewaySettings(**{**QUICK, **OPEN, **addresses, **changes})


async def ready(http: httpx.AsyncClient) -> bool:
    return (await http.get("/readyz")).status_code == 200
