"""A gateway with its own service: real Redis, real REST and gRPC, the four services as doubles, and everybody let in as asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx
from redis.asyncio import Redis

from rag.access.issuing import Issuer
from rag.access.redis_keys import RedisKeys
from rag.runtime import context
from rag.runtime.access import OPERATOR_SCOPES, Identity, check_scope, required_scope
from rag.runtime.errors import Unauthenticated
from rag.runtime.mesh import Mesh
from rag.runtime.peers import open_peer
from rag.runtime.server import Door, Room, serving
from rag.runtime.settings import ServiceSettings
from rag.v1.gateway_pb2_grpc import GatewayServiceStub
from services.gateway.access.keys import Keys
from services.gateway.adapters.grpc_caches import GrpcCaches
from services.gateway.adapters.redis_feedback import RedisFeedback
from services.gateway.feedback.feedback import Feedback
from services.gateway.http.app import create_app
from services.gateway.http.deps import Deps, Peers
from services.gateway.http.server import HttpServer
from services.gateway.limits.usage import Meter, UsageReport
from services.gateway.service import GatewayServicer, pass_through
from services.gateway.settings import GatewaySettings
from tests.gateway.access import opening
from tests.gateway.backends import Backends
from tests.gateway.conftest import QUICK, ready
from tests.waiting import until

PEPPER = opening.PEPPER.encode()  # a Redis believes one only
NAMES = {name: f"rag.v1.{name.capitalize()}Service" for name in ("embedder", "retriever", "generator", "ingestor")}


@dataclass
class Said:
    """Believes what stands in the credential: `Bearer <tenant>/<scope>,<scope>`."""

    default: Identity

    async def identify(self, authorization: str, address: str) -> Identity:
        if not authorization:
            return self.default
        tenant, found, scopes = authorization.removeprefix("Bearer ").partition("/")
        if not found:
            raise Unauthenticated("No.", "BAD_CREDENTIAL")
        return Identity(tenant, frozenset(scopes.split(",")), "somebody")


@dataclass
class NotingGate:
    """Checks scopes, and notes the methods."""

    entered: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def enter(self, method: str) -> AsyncIterator[NotingGate]:
        call = context.current()
        service, _, name = method.strip("/").partition("/")
        check_scope(Identity(call.tenant, call.scopes, call.subject), required_scope(service, name))
        self.entered.append(method)
        yield self

    async def sent(self, request: Any) -> None: ...

    def saw(self, response: Any) -> None: ...


class FixedUsage:
    async def of(self, tenant: str) -> UsageReport:
        meter = Meter(2.0, 10.0)
        return UsageReport(tenant, 1_763_683_200, Meter(3.0, None), meter, meter, meter, meter, meter, meter)


@dataclass
class Owned:
    """What is open."""

    backends: Backends
    gate: NotingGate
    feedback: Feedback
    deps: Deps
    http: httpx.AsyncClient
    http_port: int
    stub: GatewayServiceStub
    channel: grpc.aio.Channel

    def as_(self, tenant: str, *scopes: str) -> dict[str, str]:
        """The header of a caller."""
        return {"authorization": f"Bearer {tenant}/{','.join(scopes)}"}


@asynccontextmanager
async def open_owned(redis: Redis, tenant: str, **changes: object) -> AsyncIterator[Owned]:
    """Open it; who sends no credential is an operator of the tenant."""
    async with AsyncExitStack() as stack:
        backends, gate = Backends(), NotingGate()
        port = await stack.enter_async_context(serving(ServiceSettings(**QUICK), backends.room()))
        settings = GatewaySettings(**{**QUICK, "auth": "off", "http_port": 0, **changes})

        async def peers(caller: Mesh, **gated: Any) -> Peers:
            opened = {
                name: await stack.enter_async_context(open_peer(f"127.0.0.1:{port}", full_name, caller=caller, **gated))
                for name, full_name in NAMES.items()
            }
            return Peers(**opened)

        inside, outside = await peers(Mesh()), await peers(Mesh(is_service=False), gate=gate)
        store, feedback = RedisKeys(redis, PEPPER), Feedback(RedisFeedback(redis))
        own = GatewayServicer(
            gate,
            keys=Keys(Issuer(store, PEPPER), store),
            usage=FixedUsage(),
            feedback=feedback,
            caches=GrpcCaches(inside.generator, inside.retriever),
        )
        access = Said(Identity(tenant, OPERATOR_SCOPES))
        deps = Deps(settings, outside, access, own=own)
        http = HttpServer(settings, create_app(deps), deps.streams.cut)
        stack.push_async_callback(http.close)

        async def identify(metadata: Mapping[str, str], address: str) -> Identity:
            return await access.identify(metadata.get("authorization", ""), address)

        async def is_ready() -> bool:
            return True

        mounts = [*(pass_through(peer) for peer in outside.by_name().values()), own.mount()]
        room = Room("gateway", mounts, is_ready, [http.serve], Door(identify, None))
        grpc_port = await stack.enter_async_context(serving(settings, room))
        client = await stack.enter_async_context(
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{http.port}", timeout=20)
        )
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{grpc_port}"))
        await until(lambda: ready(client))
        yield Owned(backends, gate, feedback, deps, client, http.port, GatewayServiceStub(channel), channel)
