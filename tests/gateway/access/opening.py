"""A gateway that asks who comes: real keys in a real Redis, and tokens of a signer whose key we have."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from redis.asyncio import Redis

from rag.access.issuing import Issuer
from rag.access.pepper import load_pepper
from rag.access.record import ApiKeyRecord
from rag.access.redis_keys import RedisKeys
from rag.runtime.access import OPERATOR_SCOPES
from rag.runtime.redis import open_redis
from tests.gateway.access.forging import AUDIENCE, ISSUER, jwks, rsa_key

PEPPER = "p" * 32
"""One for all: the tests share a Redis."""


@dataclass
class Guarded:
    """A gateway, and the one who gives out its keys."""

    gateway: Any
    redis: Redis
    store: RedisKeys
    issuer: Issuer

    async def key(self, tenant: str, *scopes: str, ttl_s: int = 0) -> str:
        return (await self.kept(tenant, *scopes, ttl_s=ttl_s))[0]

    async def kept(self, tenant: str, *scopes: str, ttl_s: int = 0) -> tuple[str, ApiKeyRecord]:
        return await self.issuer.issue(tenant, "a test's", scopes, ttl_s, OPERATOR_SCOPES)


@asynccontextmanager
async def guarded(
    open_gateway: Callable[..., Any], redis_url: str, folder: Path, **changes: Any
) -> AsyncIterator[Guarded]:
    """Open a gateway with authentication for the length of a block."""
    (folder / "keys.json").write_bytes(jwks(first=rsa_key()))
    settings = {
        "auth": "on",
        "redis_url": redis_url,
        "data_dir": folder,
        "key_pepper": PEPPER,
        "jwt_jwks_file": folder / "keys.json",
        "jwt_issuer": ISSUER,
        "jwt_audience": AUDIENCE,
        "bad_credentials_per_min": 100_000,
    }
    settings |= changes
    async with open_gateway(**settings) as gateway, open_redis(redis_url) as redis:
        pepper = load_pepper(folder, SecretStr(settings["key_pepper"]))
        store = RedisKeys(redis, pepper)
        yield Guarded(gateway, redis, store, Issuer(store, pepper))


def bearer(credential: str) -> dict[str, str]:
    """The header of a request."""
    return {"authorization": f"Bearer {credential}"}
