"""What a token says, once its signature is known to be good: whether it is for us, for now, and about whom."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rag.ids import check_tenant
from rag.runtime.access import TENANT_SCOPES, Identity
from rag.runtime.errors import Unauthenticated

_MAX_SUBJECT = 255
_LATEST = 10**12


@dataclass(frozen=True, slots=True)
class Rules:
    """What is asked of a token."""

    issuer: str
    audience: str
    tenant_claim: str
    scope_claim: str
    leeway_s: float
    """How far the clocks of others may be from ours."""


@dataclass(frozen=True, slots=True)
class Believed:
    """Who brings a token, and until when, in seconds since 1970."""

    identity: Identity
    until: float


def believed(payload: bytes, rules: Rules, now: float) -> Believed:
    """Return whom a token is about.

    Raises:
        Unauthenticated: TOKEN_CLAIMS, TOKEN_EXPIRED, TOKEN_NOT_YET_VALID.
    """
    claims = _read(payload)
    until = _time(claims, "exp") + rules.leeway_s
    if now >= until:
        raise Unauthenticated("The token has expired.", "TOKEN_EXPIRED")
    begins = max(_time(claims, "iat"), _time(claims, "nbf") if "nbf" in claims else 0)
    if now < begins - rules.leeway_s:
        raise Unauthenticated("The token is not valid yet.", "TOKEN_NOT_YET_VALID")
    _expect(claims, "iss", rules.issuer)
    _expect(claims, "aud", rules.audience)
    return Believed(Identity(_tenant(claims, rules), _scopes(claims, rules), _subject(claims)), until)


def _read(payload: bytes) -> Mapping[str, Any]:
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise _wrong("is no JSON object") from error
    if not isinstance(claims, dict):
        raise _wrong("is no JSON object")
    return claims


def _time(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    # The bounds are for numbers that no clock shows: infinite, not a number, of a thousand digits.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LATEST:
        raise _wrong(f"needs `{name}` as a number of seconds")
    return value


def _expect(claims: Mapping[str, Any], name: str, wanted: str) -> None:
    value = claims.get(name)
    given = value if name == "aud" and isinstance(value, list) else [value]
    if wanted not in given:
        raise _wrong(f"needs the `{name}` that is taken here")


def _subject(claims: Mapping[str, Any]) -> str:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT or not subject.isprintable():
        raise _wrong("needs `sub` as a text")
    return subject


def _tenant(claims: Mapping[str, Any], rules: Rules) -> str:
    tenant = claims.get(rules.tenant_claim)
    try:
        return check_tenant(tenant if isinstance(tenant, str) else "")
    except Unauthenticated as error:
        raise _wrong(f"needs `{rules.tenant_claim}` as the name of a tenant") from error


def _scopes(claims: Mapping[str, Any], rules: Rules) -> frozenset[str]:
    value = claims.get(rules.scope_claim, "")
    named = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
    # Scopes of other systems are ignored, and so are ours that no outsider can give.
    return TENANT_SCOPES & {scope for scope in named if isinstance(scope, str)}


def _wrong(what: str) -> Unauthenticated:
    return Unauthenticated(f"The token {what}.", "TOKEN_CLAIMS")
