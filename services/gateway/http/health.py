"""Whether the process lives, whether the mesh is ready, and what it measured."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.gateway.http import examples
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


def routes(deps: Deps) -> APIRouter:
    """Return the routes outside /v1."""
    health = Health(deps)
    router = APIRouter(tags=["health"])
    router.add_api_route(
        "/healthz",
        health.alive,
        methods=["GET"],
        operation_id="alive",
        summary="Does it live?",
        responses={200: _told("It lives.", examples.HEALTH)},
    )
    router.add_api_route(
        "/readyz",
        health.ready,
        methods=["GET"],
        operation_id="ready",
        summary="Is it ready?",
        responses={
            200: _told("All are.", examples.READY),
            503: _told("One of them is not; `services` says which.", examples.NOT_READY),
        },
    )
    text = {"schema": {"type": "string"}, "example": "gateway_sse_streams 3.0\n"}
    router.add_api_route(
        "/metrics",
        health.metrics,
        methods=["GET"],
        operation_id="metrics",
        summary="Metrics",
        response_class=PlainTextResponse,
        responses={200: {"description": "The metrics.", "content": {"text/plain": text}}},
    )
    return router


def _told(description: str, example: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": "object",
        "required": ["status"],
        "properties": {"status": {"enum": [example["status"]]}},
    }
    if "services" in example:
        schema["properties"]["services"] = {
            "type": "object",
            "additionalProperties": {"enum": ["serving", "not_serving"]},
        }
    return {"description": description, "content": {"application/json": {"schema": schema, "example": example}}}
