"""How the services know each other: a signed word about the caller on every call, and TLS both ways, where settings say so."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import grpc
import jwt
from jwt.types import Options

from rag.ids import check_tenant
from rag.runtime.access import INTERNAL, Identity
from rag.runtime.context import CallContext
from rag.runtime.errors import FailedPrecondition, Unauthenticated
from rag.runtime.settings import SharedSettings

K = TypeVar("K")
V = TypeVar("V")

TENANT = "x-rag-tenant"
IDENTITY = "x-rag-identity"
_ALGORITHM = "HS256"
_ISSUER = "ragmesh"
_LIFE_S = 60
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Tls:
    """A certificate of this process, its key, and the authority that signed those of the others; PEM."""

    certificate: bytes
    key: bytes
    authority: bytes

    def server(self) -> grpc.ServerCredentials:
        """Return what a server needs that only takes calls from its own."""
        return grpc.ssl_server_credentials([(self.key, self.certificate)], self.authority, require_client_auth=True)

    def channel(self) -> grpc.ChannelCredentials:
        """Return what a channel to such a server needs."""
        return grpc.ssl_channel_credentials(self.authority, self.key, self.certificate)


class Mesh:
    """Says who calls, and believes what the others say.

    Args:
        secret: Shared by all services; empty when whoever reaches a port is believed.
        tls: For the channels between services.
        is_service: Whether this process speaks as a service, so that it may call what is internal; the gateway does not.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        secret: str = "",
        tls: Tls | None = None,
        *,
        is_service: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.tls = tls
        self._secret = secret
        self._is_service = is_service
        self._clock = clock
        self._signed: dict[tuple[str, frozenset[str], str], tuple[float, str]] = {}
        self._verified: dict[str, tuple[float, Identity]] = {}

    @classmethod
    def of(cls, settings: SharedSettings, *, is_service: bool = True) -> Mesh:
        """Return what settings say.

        Raises:
            FailedPrecondition: TLS_FILES when a file of TLS is missing or cannot be read.
        """
        return cls(settings.mesh_secret.get_secret_value(), _tls(settings), is_service=is_service)

    def channel(self, target: str, options: Sequence[tuple[str, object]]) -> grpc.aio.Channel:
        """Return a channel to another service."""
        if self.tls:
            return grpc.aio.secure_channel(target, self.tls.channel(), options=options)
        return grpc.aio.insecure_channel(target, options=options)

    def outgoing(self, call: CallContext) -> tuple[str, str]:
        """Return the metadata that says on whose behalf a call is made."""
        if not self._secret:
            return TENANT, call.tenant
        scopes = call.scopes | {INTERNAL} if self._is_service else call.scopes
        key = (call.tenant, scopes, call.subject)
        made_at, token = self._signed.get(key, (0.0, ""))
        now = self._clock()
        if not made_at <= now < made_at + _LIFE_S / 2:
            token = self._sign(*key, now)
            _remember(self._signed, key, (now, token))
        return IDENTITY, token

    def incoming(self, metadata: Mapping[str, str]) -> Identity:
        """Return who calls.

        Raises:
            Unauthenticated: NO_TENANT, NO_IDENTITY or BAD_IDENTITY.
        """
        if not self._secret:
            return Identity(check_tenant(metadata.get(TENANT, "")), frozenset({INTERNAL}))
        token = metadata.get(IDENTITY, "")
        if not token:
            raise Unauthenticated("The call does not come from a service of this mesh.", "NO_IDENTITY")
        now = self._clock()
        ends_at, identity = self._verified.get(token, (0.0, None))
        if identity is None or now >= ends_at:
            ends_at, identity = self._verify(token, now)
            _remember(self._verified, token, (ends_at, identity))
        return identity

    def _sign(self, tenant: str, scopes: frozenset[str], subject: str, now: float) -> str:
        claims = {"iss": _ISSUER, "iat": int(now), "exp": int(now) + _LIFE_S, "tenant": tenant, "sub": subject}
        return jwt.encode({**claims, "scope": " ".join(sorted(scopes))}, self._secret, _ALGORITHM)

    def _verify(self, token: str, now: float) -> tuple[float, Identity]:
        # Its time is checked by our own clock, below.
        options: Options = {"require": ["iss", "iat", "exp", "sub"], "verify_exp": False, "verify_iat": False}
        try:
            claims = jwt.decode(token, self._secret, [_ALGORITHM], options, issuer=_ISSUER)
            ends_at, tenant, scope = float(claims["exp"]), str(claims["tenant"]), str(claims["scope"])
        except (jwt.InvalidTokenError, KeyError, ValueError, TypeError) as error:
            raise Unauthenticated("The identity of the call is not one of this mesh.", "BAD_IDENTITY") from error
        if not now < ends_at:
            raise Unauthenticated("The identity of the call is too old.", "BAD_IDENTITY")
        return ends_at, Identity(check_tenant(tenant), frozenset(scope.split()), str(claims["sub"]))


def _tls(settings: SharedSettings) -> Tls | None:
    files = (settings.tls_certificate_file, settings.tls_key_file, settings.tls_authority_file)
    given = [file for file in files if file]
    if not given:
        return None
    try:
        certificate, key, authority = (file.read_bytes() for file in given)
    except (OSError, ValueError) as error:
        message = "RAG_TLS_CERTIFICATE_FILE, RAG_TLS_KEY_FILE and RAG_TLS_AUTHORITY_FILE are needed together, readable."
        raise FailedPrecondition(message, "TLS_FILES") from error
    return Tls(certificate, key, authority)


def _remember(kept: dict[K, V], key: K, value: V) -> None:
    if len(kept) >= _REMEMBERED:
        kept.clear()
    kept[key] = value
