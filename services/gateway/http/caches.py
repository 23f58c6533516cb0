"""The caches of the caller's tenant, for its admins."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from rag.v1 import gateway_pb2 as pb
from services.gateway.http import examples, schemas
from services.gateway.http.deps import Deps
from services.gateway.http.own import OwnCalls


class CacheRoutes:
    """The route of caches."""

    def __init__(self, deps: Deps) -> None:
        self._own = deps.own
        self._calls = OwnCalls(deps.settings.unary_timeout_s)

    async def invalidate(self, request: Request) -> Response:
        """Erase the tenant's cached answers and rankings, so that every question is answered anew.

        It is not needed after uploads and deletions: answers and rankings that those change are never used again anyway.
        """
        return await self._calls.answer(request, self._own.InvalidateCache, pb.InvalidateCacheRequest())


def routes(deps: Deps) -> APIRouter:
    """Return the route /v1/cache:invalidate."""
    router = APIRouter(prefix="/v1", tags=["cache"])
    router.add_api_route(
        "/cache:invalidate",
        CacheRoutes(deps).invalidate,
        methods=["POST"],
        operation_id="invalidateCache",
        summary="Empty the caches",
        responses=schemas.answers(
            schemas.of(pb.InvalidateCacheResponse.DESCRIPTOR),
            example=examples.ERASED,
            scope="admin",
            reasons=("CACHE_UNAVAILABLE", "CATALOGUE_UNAVAILABLE", "QUESTIONS_UNAVAILABLE"),
        ),
    )
    return router
