"""The HTTP application: all routes, their errors, their documentation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from services.gateway.http import documents, health, jobs, problems, query
from services.gateway.http.deps import Deps
from services.gateway.http.entrance import Entrance

_DESCRIPTION = """
Give it documents, ask it questions, read answers whose every citation can be checked.

`POST /v1/query` streams an answer as server-sent events, the same events in the same order as
`rag.v1.GeneratorService/Generate` on the gRPC port: `accepted`, `progress`, `sources`, then `token`, `citation`, `notice` and
`progress` as they come, `usage`, `done`; after a failure in mid-stream `error`, and no `done`.

Errors are `application/problem+json` (RFC 9457) with a `reason` for programs and the `request_id` that our logs know.
"""


def create_app(deps: Deps) -> FastAPI:
    """Return the application.

    Args:
        deps: What its routes need.
    """
    app: FastAPI = FastAPIOffline(
        title="ragmesh", version="1", description=_DESCRIPTION, redoc_url=None, redirect_slashes=False
    )
    app.state.max_body_bytes = deps.settings.max_body_bytes
    app.state.body_timeout_s = deps.settings.unary_timeout_s
    for module in (documents, jobs, query, health):
        app.include_router(module.routes(deps))
    problems.install(app)
    app.add_middleware(Entrance, tenant=deps.settings.tenant)
    app.openapi = partial(_without_422, app.openapi)  # type: ignore[method-assign]  # as FastAPI's own manual has it
    return app


def _without_422(describe: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the description without the 422 that FastAPI adds: what is not valid is a 400 here."""
    spec = describe()
    for path in spec["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        spec.get("components", {}).get("schemas", {}).pop(name, None)
    return spec
