"""Whether the process lives, whether the mesh is ready, and what it measured."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Response
from fastapi.responses import RedirectResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.gateway.http.calls import json_response
from services.gateway.http.deps import Deps


class Health:
    """The routes of health and metrics."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def alive(self) -> Response:
        """Answer as long as the process lives, whatever it depends on."""
        return json_response({"status": "alive"})

    async def ready(self) -> Response:
        """Tell whether this gateway and the four services behind it are ready, each by name."""
        peers = self._deps.peers.by_name()
        answers = await asyncio.gather(*(peer.is_serving() for peer in peers.values()))
        states = {"gateway": not self._deps.is_draining(), **dict(zip(peers, answers, strict=True))}
        services = {name: "serving" if ready else "not_serving" for name, ready in states.items()}
        ready = all(states.values())
        return json_response({"status": "ready" if ready else "not_ready", "services": services}, 200 if ready else 503)

    async def metrics(self) -> Response:
        """Return the metrics in Prometheus' text format."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    async def home(self) -> Response:
        """Lead people to the documentation."""
        return RedirectResponse("/docs", 307)


def routes(deps: Deps) -> APIRouter:
    """Return the routes outside /v1."""
    health = Health(deps)
    router = APIRouter(tags=["health"])
    router.add_api_route("/healthz", health.alive, methods=["GET"], operation_id="alive", summary="Does it live?")
    router.add_api_route(
        "/readyz",
        health.ready,
        methods=["GET"],
        operation_id="ready",
        summary="Is it ready?",
        responses={503: {"description": "One of them is not; `services` says which."}},
    )
    router.add_api_route("/metrics", health.metrics, methods=["GET"], operation_id="metrics", summary="Metrics")
    router.add_api_route("/", health.home, methods=["GET"], include_in_schema=False)
    return router
