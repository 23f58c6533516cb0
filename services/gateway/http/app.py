"""The HTTP application: all routes, their errors, their documentation."""

from __future__ import annotations

from functools import partial

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from services.gateway.http import caches, documents, feedback, health, index, jobs, keys, problems, query, usage
from services.gateway.http.deps import Deps
from services.gateway.http.description import described
from services.gateway.http.entrance import Entrance
from services.gateway.http.openai import routes as openai
from services.gateway.http.origin import OwnMachineOnly, guard_browsers
from services.gateway.http.web import page

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
    for module in (documents, jobs, query, openai, feedback, usage, keys, caches, index, health):
        app.include_router(module.routes(deps))
    app.include_router(page.routes())
    problems.install(app)
    if deps.settings.auth == "off":
        app.add_middleware(OwnMachineOnly, origins=deps.settings.cors_origins)
    app.add_middleware(Entrance, access=deps.access)
    guard_browsers(app, deps.settings.cors_origins)
    app.openapi = partial(described, app.openapi)  # type: ignore[method-assign]  # as FastAPI's own manual has it
    return app
