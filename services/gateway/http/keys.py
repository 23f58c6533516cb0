"""API keys of the caller's tenant, for its admins."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import ConfigDict, Field, StrictStr

from rag.v1 import access_pb2
from rag.v1 import gateway_pb2 as pb
from services.gateway.http import examples, schemas
from services.gateway.http.bodies import Body, BoundedJson
from services.gateway.http.deps import Deps
from services.gateway.http.own import OwnCalls

Seconds = Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)]
_SCOPES = {"query": access_pb2.SCOPE_QUERY, "ingest": access_pb2.SCOPE_INGEST, "admin": access_pb2.SCOPE_ADMIN}


class KeyBody(Body):
    """A key to make."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "chat front end", "scopes": ["query"]},
                {"name": "nightly upload", "scopes": ["ingest"], "ttl_s": 2_592_000},
            ]
        }
    )

    name: StrictStr = Field(description="What people call it: 1 to 100 characters.")
    scopes: list[Literal["query", "ingest", "admin"]] = Field(
        description="What it may. At least one, and none that the caller lacks."
    )
    ttl_s: Seconds = Field(0, description="How long it lasts, in seconds; 0 for no end.")

    def to_proto(self) -> pb.CreateKeyRequest:
        """Return the request of the contract."""
        return pb.CreateKeyRequest(name=self.name, scopes=[_SCOPES[scope] for scope in self.scopes], ttl_s=self.ttl_s)


class KeyRoutes:
    """The routes of keys."""

    def __init__(self, deps: Deps) -> None:
        self._own = deps.own
        self._calls = OwnCalls(deps.settings.unary_timeout_s)

    async def create(self, request: Request, body: KeyBody) -> Response:
        """Make a key for the caller's tenant. `secret` is the key itself: it is in this answer and nowhere else."""
        answer = await self._calls.answer(request, self._own.CreateKey, body.to_proto(), 201)
        answer.headers["cache-control"] = "no-store"
        return answer

    async def list_all(self, request: Request) -> Response:
        """List the tenant's keys, newest first, revoked ones too."""
        return await self._calls.answer(request, self._own.ListKeys, pb.ListKeysRequest())

    async def revoke(self, request: Request, key_id: str) -> Response:
        """End a key: within five seconds nobody gets in with it. To do so twice changes nothing."""
        return await self._calls.answer(request, self._own.RevokeKey, pb.RevokeKeyRequest(key_id=key_id))


def routes(deps: Deps) -> APIRouter:
    """Return the routes under /v1/keys."""
    keys = KeyRoutes(deps)
    router = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=BoundedJson)

    def add(path: str, method: str, handler: Any, name: str, summary: str, **more: Any) -> None:
        router.add_api_route(path, handler, methods=[method], operation_id=name, summary=summary, **more)

    add("", "POST", keys.create, "createKey", "Make a key", status_code=201,
        responses=schemas.answers(schemas.of(pb.CreateKeyResponse.DESCRIPTOR), example=examples.NEW_KEY,
                                  status=201, scope="admin", reads_body=True,
                                  reasons=("BAD_KEY_NAME", "BAD_SCOPES", "BAD_TTL", "TOO_MANY_KEYS", "KEYS_UNAVAILABLE", "PEPPER_DIFFERS")))  # fmt: skip
    add("", "GET", keys.list_all, "listKeys", "List keys",
        responses=schemas.answers(schemas.of(pb.ListKeysResponse.DESCRIPTOR), example=examples.KEYS,
                                  scope="admin", reasons=("KEYS_UNAVAILABLE", "PEPPER_DIFFERS",)))  # fmt: skip
    add("/{key_id}:revoke", "POST", keys.revoke, "revokeKey", "Revoke a key",
        responses=schemas.answers(schemas.of(pb.RevokeKeyResponse.DESCRIPTOR), example=examples.REVOKED_KEY,
                                  scope="admin", reasons=("BAD_ID", "KEY_NOT_FOUND", "KEYS_UNAVAILABLE", "PEPPER_DIFFERS")))  # fmt: skip
    return router
