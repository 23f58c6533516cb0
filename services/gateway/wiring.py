"""The composition root of the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from rag.runtime.logs import get_logger
from rag.runtime.peers import Peer, open_peer
from rag.runtime.server import Room
from rag.v1 import embedder_pb2, generator_pb2, ingestor_pb2, retriever_pb2
from services.gateway.http.app import create_app
from services.gateway.http.deps import Deps, Peers
from services.gateway.http.server import HttpServer
from services.gateway.service import pass_through
from services.gateway.settings import GatewaySettings, is_loopback

log = get_logger(__name__)

_EMBEDDER = embedder_pb2.DESCRIPTOR.services_by_name["EmbedderService"].full_name
_RETRIEVER = retriever_pb2.DESCRIPTOR.services_by_name["RetrieverService"].full_name
_GENERATOR = generator_pb2.DESCRIPTOR.services_by_name["GeneratorService"].full_name
_INGESTOR = ingestor_pb2.DESCRIPTOR.services_by_name["IngestorService"].full_name


@dataclass(frozen=True, slots=True)
class GatewayRoom(Room):
    """A room with a second door."""

    http_port: int = 0
    """The HTTP port that was bound."""


@asynccontextmanager
async def wire(settings: GatewaySettings) -> AsyncIterator[GatewayRoom]:
    """Build the gateway: channels to the four services, HTTP in front of them, gRPC through to them."""
    if not (is_loopback(settings.host) and is_loopback(settings.http_host)):
        log.warning("unauthenticated", why="GATEWAY_ALLOW_UNAUTHENTICATED is set: whoever reaches a port may do all")
    draining = asyncio.Event()
    async with AsyncExitStack() as stack:

        async def peer(address: str, full_name: str) -> Peer:
            opened = open_peer(address, full_name, max_calls=settings.max_concurrent_calls)
            return await stack.enter_async_context(opened)

        peers = Peers(
            embedder=await peer(settings.embedder_address, _EMBEDDER),
            retriever=await peer(settings.retriever_address, _RETRIEVER),
            generator=await peer(settings.generator_address, _GENERATOR),
            ingestor=await peer(settings.ingestor_address, _INGESTOR),
        )
        deps = Deps(settings, peers, is_draining=draining.is_set)
        http = HttpServer(settings, create_app(deps), deps.streams.cut)
        stack.push_async_callback(http.close)

        async def before_drain() -> None:
            draining.set()
            await http.wind_down()

        yield GatewayRoom(
            name="gateway",
            services=[pass_through(peer) for peer in peers.by_name().values()],
            is_ready=partial(_all_serving, peers),
            background=[http.serve],
            tenant=settings.tenant,
            before_drain=before_drain,
            http_port=http.port,
        )


async def _all_serving(peers: Peers) -> bool:
    return all(await asyncio.gather(*(peer.is_serving() for peer in peers.by_name().values())))
