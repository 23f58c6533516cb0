"""The composition root of who comes in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from redis.asyncio import Redis

from rag.access.issuing import Issuer
from rag.access.pepper import load_pepper
from rag.access.redis_keys import RedisKeys
from services.gateway.access.access import Access, Anybody
from services.gateway.access.attempts import Attempts
from services.gateway.access.claims import Rules
from services.gateway.access.credentials import Credentials
from services.gateway.access.key_set import KeySet, KeySource
from services.gateway.access.keys import Keys
from services.gateway.access.known_keys import KnownKeys
from services.gateway.access.tokens import Signatures, Tokens
from services.gateway.adapters.file_key_source import FileKeySource
from services.gateway.adapters.httpx_key_source import HttpxKeySource, open_client
from services.gateway.adapters.pyjwt_key_set import KeySetSignatures, public_keys
from services.gateway.adapters.pyjwt_shared_secret import SharedSecretSignatures
from services.gateway.settings import GatewaySettings


@dataclass(frozen=True, slots=True)
class Door:
    """Who is let in, and the keys that let in."""

    access: Access
    keys: Keys


@asynccontextmanager
async def open_door(settings: GatewaySettings, redis: Redis) -> AsyncIterator[Door]:
    """Build what tells callers apart.

    Raises:
        FailedPrecondition: PEPPER_UNREADABLE.
    """
    pepper = load_pepper(settings.data_dir, settings.key_pepper)
    store = RedisKeys(redis, pepper)
    known = KnownKeys(store, pepper)
    keys = Keys(Issuer(store, pepper), store, known.forget)
    async with AsyncExitStack() as stack:
        if settings.auth == "off":
            yield Door(Anybody(settings.tenant), keys)
            return
        signatures = await _signatures(settings, stack)
        tokens = Tokens(signatures, _rules(settings)) if signatures else None
        yield Door(Credentials(known, tokens, Attempts(settings.bad_credentials_per_min)), keys)


async def _signatures(settings: GatewaySettings, stack: AsyncExitStack) -> Signatures | None:
    if secret := settings.jwt_secret.get_secret_value():
        return SharedSecretSignatures(secret.encode())
    source: KeySource
    if settings.jwt_jwks_url:
        source = HttpxKeySource(await stack.enter_async_context(open_client()), settings.jwt_jwks_url)
    elif settings.jwt_jwks_file:
        source = FileKeySource(settings.jwt_jwks_file)
    else:
        return None
    keys = KeySet(source, partial(public_keys, algorithm=settings.jwt_algorithm))
    stack.push_async_callback(keys.close)
    return KeySetSignatures(keys, settings.jwt_algorithm)


def _rules(settings: GatewaySettings) -> Rules:
    return Rules(
        settings.jwt_issuer,
        settings.jwt_audience,
        settings.jwt_tenant_claim,
        settings.jwt_scope_claim,
        settings.jwt_leeway_s,
    )
