"""The composition root of the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from redis.asyncio import Redis

from rag.runtime.access import Identity
from rag.runtime.logs import get_logger
from rag.runtime.mesh import Mesh
from rag.runtime.peers import Peer, open_peer
from rag.runtime.redis import open_redis
from rag.runtime.server import Door, Room
from rag.v1 import embedder_pb2, generator_pb2, ingestor_pb2, retriever_pb2
from services.gateway.access.access import Access
from services.gateway.access.proxies import Proxies
from services.gateway.access.wiring import open_door
from services.gateway.adapters.file_limits import FileLimits
from services.gateway.adapters.grpc_caches import GrpcCaches
from services.gateway.adapters.grpc_stock import GrpcStock
from services.gateway.adapters.redis_feedback import RedisFeedback
from services.gateway.adapters.redis_limits import RedisLimits
from services.gateway.feedback import rate
from services.gateway.feedback.feedback import Feedback
from services.gateway.gate import Gate
from services.gateway.http.app import create_app
from services.gateway.http.deps import Deps, Peers
from services.gateway.http.server import HttpServer
from services.gateway.limits.ledger import Spent
from services.gateway.limits.limiter import Limiter
from services.gateway.limits.limits import limits_from, micros
from services.gateway.limits.memory_ledger import MemoryLedger
from services.gateway.limits.quota import Quota
from services.gateway.limits.standby import Standby
from services.gateway.limits.usage import Usage
from services.gateway.paced import Paced
from services.gateway.service import GatewayServicer, pass_through
from services.gateway.settings import GatewaySettings

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


@dataclass(frozen=True, slots=True)
class _Bounds:
    """What keeps tenants within their limits."""

    limiter: Limiter
    usage: Usage
    ledger: Standby


@asynccontextmanager
async def wire(settings: GatewaySettings) -> AsyncIterator[GatewayRoom]:
    """Build the gateway: who comes in, what they may, channels to the four services, HTTP in front of them, gRPC through to them."""
    if settings.auth == "off":
        log.warning("unauthenticated", why="GATEWAY_AUTH is off: every program on this machine may do all")
    draining = asyncio.Event()
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(open_redis(settings.redis_url))
        entry = await stack.enter_async_context(open_door(settings, redis))
        inside = await _peers(stack, settings, Mesh.of(settings))
        bounds = _bounds(settings, redis, inside)
        access = Paced(entry.access, bounds.limiter)
        stack.push_async_callback(bounds.ledger.close)
        opinions = RedisFeedback(redis)
        feedback = Feedback(opinions)
        gate = Gate(bounds.limiter, feedback)
        stack.push_async_callback(gate.close)
        peers = await _peers(stack, settings, Mesh.of(settings, is_service=False), gate)
        caches = GrpcCaches(inside.generator, inside.retriever)
        own = GatewayServicer(gate, keys=entry.keys, usage=bounds.usage, feedback=feedback, caches=caches)
        deps = Deps(settings, peers, access, own, is_draining=draining.is_set)
        http = HttpServer(settings, create_app(deps), deps.streams.cut)
        stack.push_async_callback(http.close)

        async def before_drain() -> None:
            draining.set()
            await http.wind_down()

        yield GatewayRoom(
            name="gateway",
            services=[*(pass_through(peer) for peer in peers.by_name().values()), own.mount()],
            is_ready=partial(_all_serving, peers),
            background=[http.serve, bounds.ledger.keep, partial(rate.follow, opinions)],
            door=Door(partial(_identify, access, Proxies(settings.trusted_proxies)), None),
            before_drain=before_drain,
            http_port=http.port,
        )


async def _peers(stack: AsyncExitStack, settings: GatewaySettings, caller: Mesh, gate: Gate | None = None) -> Peers:
    """Open channels to the four services for the life of a stack; without a gate for what the gateway itself asks them."""

    async def peer(address: str, full_name: str) -> Peer:
        opened = open_peer(address, full_name, caller=caller, gate=gate, max_calls=settings.max_concurrent_calls)
        return await stack.enter_async_context(opened)

    return Peers(
        embedder=await peer(settings.embedder_address, _EMBEDDER),
        retriever=await peer(settings.retriever_address, _RETRIEVER),
        generator=await peer(settings.generator_address, _GENERATOR),
        ingestor=await peer(settings.ingestor_address, _INGESTOR),
    )


def _bounds(settings: GatewaySettings, redis: Redis, inside: Peers) -> _Bounds:
    limits = FileLimits(limits_from(settings.model_dump()), settings.limits_file)
    ledger = Standby(RedisLimits(redis), MemoryLedger(), settings.limit_patience_ms / 1000)
    stock = GrpcStock(inside.retriever, inside.ingestor)
    reserve = Spent(settings.limit_reserve_tokens, micros(settings.limit_reserve_cost_usd))
    return _Bounds(Limiter(limits, ledger, Quota(stock), reserve), Usage(limits, ledger, stock), ledger)


async def _identify(access: Access, proxies: Proxies, metadata: Mapping[str, str], peer: str) -> Identity:
    address = proxies.caller(peer, metadata.get("x-forwarded-for", ""))
    return await access.identify(metadata.get("authorization", ""), address)


async def _all_serving(peers: Peers) -> bool:
    return all(await asyncio.gather(*(peer.is_serving() for peer in peers.by_name().values())))
