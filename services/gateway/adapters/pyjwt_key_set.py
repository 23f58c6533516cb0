"""Signatures with private keys whose public halves are in a set of keys (RFC 7517)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from services.gateway.access.key_set import KeySet
from services.gateway.access.token_header import invalid, key_id_of

_KINDS: Mapping[str, Mapping[str, str]] = {"RS256": {"kty": "RSA"}, "ES256": {"kty": "EC", "crv": "P-256"}}
_MOST_KEYS = 100
_LEAST_RSA_BITS = 2048


class KeySetSignatures:
    """One algorithm, and the keys that are made for it.

    Args:
        keys: Those of the signers.
        algorithm: `RS256` or `ES256`.
    """

    def __init__(self, keys: KeySet[jwt.PyJWK], algorithm: str) -> None:
        self._keys = keys
        self._algorithm = algorithm
        self._jws = jwt.PyJWS(algorithms=[algorithm])

    async def payload(self, token: str) -> bytes:
        """Return what a token says."""
        key = await self._keys.find(key_id_of(token, self._algorithm))
        if key is None:
            raise invalid("The token is not signed by one who is trusted here.")
        try:
            payload: bytes = self._jws.decode(token, key, [self._algorithm])
        except jwt.PyJWTError as error:
            raise invalid("The token is not signed by one who is trusted here.") from error
        return payload


def public_keys(text: bytes, algorithm: str) -> Mapping[str, jwt.PyJWK]:
    """Return the keys of a set that are made to check signatures with one algorithm, by their ids.

    Raises:
        ValueError: when there is none.
    """
    try:
        given = json.loads(text)
    except RecursionError as error:
        raise ValueError("no set of keys") from error
    members = given.get("keys") if isinstance(given, dict) else None
    found: dict[str, jwt.PyJWK] = {}
    for member in members[:_MOST_KEYS] if isinstance(members, list) else []:
        if isinstance(member, dict) and _suits(member, algorithm) and (key := _key(member, algorithm)):
            found.setdefault(str(member.get("kid", "")), key)
    if not found:
        raise ValueError(f"no key of the set checks {algorithm} signatures")
    return found


def _suits(member: Mapping[str, Any], algorithm: str) -> bool:
    operations = member.get("key_ops", ["verify"])
    return (
        all(member.get(name) == value for name, value in _KINDS[algorithm].items())
        and member.get("alg", algorithm) == algorithm
        and member.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        and "d" not in member  # a private key has no place in a set that is shown around
    )


def _key(member: dict[str, Any], algorithm: str) -> jwt.PyJWK | None:
    try:
        key = jwt.PyJWK(member, algorithm)
    except jwt.PyJWTError:
        return None  # one that cannot be used, beside others that can
    is_short = isinstance(key.key, RSAPublicKey) and key.key.key_size < _LEAST_RSA_BITS
    return None if is_short else key
