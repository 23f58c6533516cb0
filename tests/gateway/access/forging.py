"""Tokens, good and forged: what a library would refuse to make is put together by hand."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

ISSUER, AUDIENCE = "https://id.test/", "ragmesh"
SECRET = "s" * 40
Sign = Callable[[bytes], bytes]


@cache
def _made(kind: str, _name: str) -> Any:
    return rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())


def rsa_key(name: str = "first") -> rsa.RSAPrivateKey:
    """The one of this name: to make another takes a while."""
    return _made("rsa", name)


def ec_key(name: str = "first") -> ec.EllipticCurvePrivateKey:
    return _made("ec", name)


def by_rsa(key: rsa.RSAPrivateKey) -> Sign:
    return lambda data: key.sign(data, padding.PKCS1v15(), hashes.SHA256())


def by_ec(key: ec.EllipticCurvePrivateKey) -> Sign:
    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    return sign


def by_secret(secret: bytes) -> Sign:
    return lambda data: hmac.digest(secret, data, "sha256")


def unsigned(_data: bytes) -> bytes:
    return b""


def public_pem(key: rsa.RSAPrivateKey) -> bytes:
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, kind)


def jwks(**keys: Any) -> bytes:
    """A set of keys by their ids."""
    return json.dumps({"keys": [{"kid": kid, **jwk(key)} for kid, key in keys.items()]}).encode()


def jwk(key: Any) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    if isinstance(key, rsa.RSAPrivateKey):
        return {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
    return {"kty": "EC", "crv": "P-256", "x": number(numbers.x), "y": number(numbers.y)}


def number(value: int) -> str:
    return part(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims(now: float | None = None, **changes: Any) -> dict[str, Any]:
    """Good ones, with changes; one that is changed to None is left out."""
    begun = int(time.time() if now is None else now)
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ann",
        "iat": begun,
        "exp": begun + 3600,
        "tenant": "acme",
        "scope": "query",
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def token(said: Mapping[str, Any], sign: Sign, alg: str = "RS256", **header: Any) -> str:
    """A token with any header."""
    return raw({"alg": alg, "typ": "JWT", **header}, said, sign)


def raw(header: Any, said: Any, sign: Sign) -> str:
    signed = f"{part(json.dumps(header).encode())}.{part(json.dumps(said).encode())}"
    return f"{signed}.{part(sign(signed.encode()))}"


def good_token(kid: str = "first", **changes: Any) -> str:
    return token(claims(**changes), by_rsa(rsa_key(kid)), kid=kid)
