"""The tenant itself: what it used, what its people think of answers, its keys and its caches."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from rag.client.connection import Connection
from rag.v1 import access_pb2
from rag.v1 import gateway_pb2 as pb


class Tenant(Connection):
    """Asks the gateway itself."""

    async def usage(self) -> pb.GetUsageResponse:
        """Return what the tenant used today, what it stores, and what it may."""
        return await self._once(self._gateway.GetUsage, pb.GetUsageRequest())

    async def rate(self, answer_id: str, rating: pb.Rating.ValueType, comment: str = "") -> None:
        """Say whether an answer was any good, by the id in its `accepted` event. The last word about an answer counts."""
        request = pb.SubmitFeedbackRequest(answer_id=answer_id, rating=rating, comment=comment)
        await self._once(self._gateway.SubmitFeedback, request)

    def feedback(self, rating: pb.Rating.ValueType = pb.RATING_UNSPECIFIED) -> AsyncGenerator[pb.Feedback, None]:
        """List what was said about answers, newest first; needs the scope admin."""
        return self._listed(self._gateway.ListFeedback, pb.ListFeedbackRequest(rating=rating), "feedback")

    async def create_key(
        self, name: str, scopes: Sequence[access_pb2.Scope.ValueType], ttl_s: int = 0
    ) -> pb.CreateKeyResponse:
        """Make a key for the tenant; the key itself is in this answer and nowhere else. Needs the scope admin."""
        request = pb.CreateKeyRequest(name=name, scopes=scopes, ttl_s=ttl_s)
        return await self._once(self._gateway.CreateKey, request)

    async def keys(self) -> list[pb.ApiKey]:
        """Return the tenant's keys, newest first; needs the scope admin."""
        return list((await self._once(self._gateway.ListKeys, pb.ListKeysRequest())).keys)

    async def revoke_key(self, key_id: str) -> pb.ApiKey:
        """End a key, within five seconds; needs the scope admin."""
        return (await self._once(self._gateway.RevokeKey, pb.RevokeKeyRequest(key_id=key_id))).key

    async def forget_cached(self) -> pb.InvalidateCacheResponse:
        """Erase the tenant's cached answers and rankings; needs the scope admin."""
        erased: pb.InvalidateCacheResponse = await self._once(
            self._gateway.InvalidateCache, pb.InvalidateCacheRequest()
        )
        return erased
