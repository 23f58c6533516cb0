"""What the caller's tenant used and may."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from rag.v1 import gateway_pb2 as pb
from services.gateway.http import examples, schemas
from services.gateway.http.deps import Deps
from services.gateway.http.own import OwnCalls


class UsageRoutes:
    """The route of usage."""

    def __init__(self, deps: Deps) -> None:
        self._own = deps.own
        self._calls = OwnCalls(deps.settings.unary_timeout_s)

    async def get(self, request: Request) -> Response:
        """Tell what the tenant used today, what it stores, and what it may. A `limit` that is null is none."""
        return await self._calls.answer(request, self._own.GetUsage, pb.GetUsageRequest())


def routes(deps: Deps) -> APIRouter:
    """Return the route /v1/usage."""
    router = APIRouter(prefix="/v1", tags=["usage"])
    router.add_api_route(
        "/usage",
        UsageRoutes(deps).get,
        methods=["GET"],
        operation_id="getUsage",
        summary="What was used, and what may be",
        responses=schemas.answers(
            schemas.of(pb.GetUsageResponse.DESCRIPTOR),
            example=examples.USAGE,
            scope="query",
            reasons=("CATALOGUE_UNAVAILABLE", "RETRIEVER_UNAVAILABLE"),
        ),
    )
    return router
