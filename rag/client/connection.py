"""The connection beneath the client: where it leads, how it is secured, and the deadline of each call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self, TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from rag.client.caller import ApiKey
from rag.runtime import context
from rag.runtime.peers import Peer, open_peer
from rag.v1 import gateway_pb2, generator_pb2, ingestor_pb2, retriever_pb2
from rag.v1.gateway_pb2_grpc import GatewayServiceStub
from rag.v1.generator_pb2_grpc import GeneratorServiceStub
from rag.v1.ingestor_pb2_grpc import IngestorServiceStub
from rag.v1.retriever_pb2_grpc import RetrieverServiceStub

Req = TypeVar("Req")
Resp = TypeVar("Resp")

_HEALTH_S = 2.0
_NOBODY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
LOCAL = "127.0.0.1:50050"
_SERVICES = (
    generator_pb2.DESCRIPTOR.services_by_name["GeneratorService"].full_name,
    retriever_pb2.DESCRIPTOR.services_by_name["RetrieverService"].full_name,
    ingestor_pb2.DESCRIPTOR.services_by_name["IngestorService"].full_name,
    gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"].full_name,
)


class Connection:
    """A channel to a gateway's gRPC port, for the length of a block.

    Args:
        address: `host:port`, `https://host` for TLS, or `http://host:port` for plain text that is meant: without `http://`,
            a key is sent in plain text to this machine alone.
        key: An API key or a token; empty where the gateway asks for none.
        timeout_s: How long an answer or an upload may take, in seconds, with its repetitions. Watching a job takes as long
            as the job.
        authority_file: Certificates (PEM) of the authorities that are believed, for TLS; by default the public ones.
        pause: Waits so many seconds before something is repeated.

    Raises:
        FailedPrecondition: KEY_IN_PLAIN_TEXT, or AUTHORITY_FILE when it cannot be read.
        InvalidInput: BAD_KEY or BAD_ADDRESS.
    """

    def __init__(
        self,
        address: str = LOCAL,
        key: str = "",
        timeout_s: float = 120.0,
        *,
        authority_file: Path | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._caller = ApiKey(address, key, authority_file)
        self._pause = pause
        self._timeout_s = timeout_s
        self._stack = AsyncExitStack()
        self._peer: Peer

    async def __aenter__(self) -> Self:
        opened = open_peer(self._caller.target, *_SERVICES, caller=self._caller)
        self._peer = await self._stack.enter_async_context(opened)
        self._peer.name = "gateway"  # which of its services is asked makes no difference to who cannot be reached
        channel = self._peer.channel
        self._generator = GeneratorServiceStub(channel)
        self._catalogue = RetrieverServiceStub(channel)
        self._ingestor = IngestorServiceStub(channel)
        self._gateway = GatewayServiceStub(channel)
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._stack.aclose()

    @property
    def address(self) -> str:
        """Where the gateway is, as gRPC names it."""
        return self._caller.target

    async def is_serving(self) -> bool:
        """Tell whether the gateway and all services behind it are ready."""
        return await self._peer.is_serving()

    async def health(self, service: str = "") -> str:
        """Return what a service behind the gateway says about itself, such as `SERVING`; empty when nobody answers.

        Args:
            service: Such as `rag.v1.RetrieverService`; the whole when empty.
        """
        request = health_pb2.HealthCheckRequest(service=service)
        try:
            answer = await health_pb2_grpc.HealthStub(self._peer.channel).Check(request, timeout=_HEALTH_S)
        except grpc.aio.AioRpcError as error:
            return "" if error.code() in _NOBODY else str(error.code().name)
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))

    def _begin(self, timeout_s: float | None = None) -> None:
        context.use(context.new_call("", timeout_s or self._timeout_s))

    async def _once(self, method: grpc.aio.UnaryUnaryMultiCallable[Req, Resp], request: Req) -> Resp:
        self._begin()
        return await self._peer.unary(method, request)

    async def _listed(self, method: Any, request: Any, field: str) -> AsyncGenerator[Any, None]:
        """Yield what a field of the pages holds, over all pages."""
        more = True
        while more:
            page = await self._once(method, request)
            for one in getattr(page, field):
                yield one
            request.page_token = page.next_page_token
            more = bool(page.next_page_token)
