"""What the gRPC port serves: the services behind the door under their own names and with their own health, and the door's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import grpc

from rag.runtime.access import Identity
from rag.runtime.context import CallContext, current
from rag.runtime.gates import Gate
from rag.runtime.peers import Peer
from rag.runtime.server import Mount
from rag.v1 import gateway_pb2 as pb
from rag.v1.gateway_pb2_grpc import GatewayServiceServicer, add_GatewayServiceServicer_to_server
from services.gateway.access.keys import Keys
from services.gateway.caches import Caches
from services.gateway.edge import PassThrough
from services.gateway.feedback.feedback import Feedback
from services.gateway.limits.usage import Usage
from services.gateway.messages import own

_NAME = pb.DESCRIPTOR.services_by_name["GatewayService"].full_name


def pass_through(peer: Peer) -> Mount:
    """Return a peer's service as one of this server's."""
    handler = PassThrough(peer)

    def add(server: grpc.aio.Server) -> None:
        server.add_generic_rpc_handlers((handler,))

    return Mount(peer.full_name, add, is_ready=peer.is_serving)


class GatewayServicer(GatewayServiceServicer):
    """Serves `rag.v1.GatewayService`, each call through the gate. REST calls its methods too, with no context: they need none."""

    def __init__(self, gate: Gate, *, keys: Keys, usage: Usage, feedback: Feedback, caches: Caches) -> None:
        self._gate = gate
        self._keys = keys
        self._usage = usage
        self._feedback = feedback
        self._caches = caches

    def mount(self) -> Mount:
        """Return it as one of a room's services."""
        return Mount(_NAME, partial(add_GatewayServiceServicer_to_server, self))

    async def SubmitFeedback(self, request: pb.SubmitFeedbackRequest, context: Any = None) -> pb.SubmitFeedbackResponse:
        """Keep an opinion about an answer."""
        async with self._entered("SubmitFeedback") as call:
            rating = own.to_rating(request.rating)
            await self._feedback.submit(call.tenant, request.answer_id, rating, request.comment)
        return pb.SubmitFeedbackResponse()

    async def ListFeedback(self, request: pb.ListFeedbackRequest, context: Any = None) -> pb.ListFeedbackResponse:
        """Return one page of opinions, newest first."""
        async with self._entered("ListFeedback") as call:
            rating = own.to_rating(request.rating)
            page = await self._feedback.list(call.tenant, rating, request.page_size, request.page_token)
        feedback = [own.from_opinion(opinion) for opinion in page.opinions]
        return pb.ListFeedbackResponse(feedback=feedback, next_page_token=page.next_page_token)

    async def GetUsage(self, request: pb.GetUsageRequest, context: Any = None) -> pb.GetUsageResponse:
        """Tell what the tenant used and may."""
        async with self._entered("GetUsage") as call:
            return own.from_usage(await self._usage.of(call.tenant))

    async def InvalidateCache(
        self, request: pb.InvalidateCacheRequest, context: Any = None
    ) -> pb.InvalidateCacheResponse:
        """Erase the tenant's cached answers and rankings."""
        async with self._entered("InvalidateCache"):
            erased = await self._caches.erase()
        return pb.InvalidateCacheResponse(answers=erased.answers, rankings=erased.rankings)

    async def CreateKey(self, request: pb.CreateKeyRequest, context: Any = None) -> pb.CreateKeyResponse:
        """Make a key."""
        async with self._entered("CreateKey") as call:
            caller = Identity(call.tenant, call.scopes, call.subject)
            scopes = own.to_scopes(request.scopes)
            secret, record = await self._keys.create(call.tenant, request.name, scopes, request.ttl_s, caller)
        return pb.CreateKeyResponse(secret=secret, key=own.from_key(record))

    async def ListKeys(self, request: pb.ListKeysRequest, context: Any = None) -> pb.ListKeysResponse:
        """Return the tenant's keys, newest first."""
        async with self._entered("ListKeys") as call:
            return pb.ListKeysResponse(keys=[own.from_key(record) for record in await self._keys.list(call.tenant)])

    async def RevokeKey(self, request: pb.RevokeKeyRequest, context: Any = None) -> pb.RevokeKeyResponse:
        """End a key."""
        async with self._entered("RevokeKey") as call:
            record = await self._keys.revoke(call.tenant, request.key_id)
        return pb.RevokeKeyResponse(key=own.from_key(record))

    @asynccontextmanager
    async def _entered(self, method: str) -> AsyncIterator[CallContext]:
        async with self._gate.enter(f"/{_NAME}/{method}"):
            yield current()
