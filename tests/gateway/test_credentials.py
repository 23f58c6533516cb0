"""Every bad credential at every route and every method, found by asking the gateway itself: all refused, and no service hears of it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator, Mapping

import grpc
import pytest

from rag.access.api_key import new_key
from rag.access.issuing import Issuer
from rag.runtime.access import TENANT_SCOPES
from tests.gateway.access.forging import (
    by_rsa,
    by_secret,
    claims,
    good_token,
    jwk,
    public_pem,
    raw,
    rsa_key,
    token,
    unsigned,
)
from tests.gateway.access.opening import PEPPER, Guarded, bearer, guarded
from tests.system.reflecting import ReflectingClient

OPEN_PATHS = {"/healthz", "/readyz", "/metrics"}
"""Of those in the contract, what anybody may see. The page at `/` and its parts, `/docs` and `/openapi.json` are open too."""
OPEN_SERVICES = {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
EVERYWHERE = {
    *("missing", "empty", "no scheme", "another scheme", "garbage", "a cut key", "a wrong checksum", "an unknown key"),
    *(
        "a revoked key",
        "an expired key",
        "alg none",
        "the public key as a secret",
        "another key of the same name",
        "jku",
    ),
    *(
        "kid ../../../dev/null",
        "crit",
        "no exp",
        "expired",
        "wrong aud",
        "one that begins as a good one does",
        "100 KB",
    ),
}
"""These are brought to every door; the others, which differ in what is behind it, to one of each kind."""
AT_ONCE = 25
FIRST = by_rsa(rsa_key())


def signed(**changes: object) -> str:
    return token(claims(**changes), FIRST, kid="first")


def with_header(**header: object) -> str:
    return token(claims(), FIRST, **{"kid": "first", **header})


def like(good: str) -> str:
    """Another token that begins as a good one does."""
    long = token({"note": "x" * 600, **claims()}, FIRST, kid="first")
    other = token({"note": "x" * 600, **claims(tenant="globex")}, by_rsa(rsa_key("stranger")), kid="first")
    assert long[:500] == other[:500] != good[:500]
    return other


def tokens() -> Iterator[tuple[str, str, set[str]]]:
    now, good = int(time.time()), good_token()
    for alg in ("none", "None", "NONE", "nOnE"):
        yield f"alg {alg}", token(claims(), unsigned, alg, kid="first") + "AA", {"TOKEN_INVALID"}
        yield (
            f"alg {alg} and no signature",
            token(claims(), unsigned, alg, kid="first"),
            {"TOKEN_INVALID", "BAD_HEADER"},
        )
    yield "no algorithm", raw({"kid": "first"}, claims(), FIRST), {"TOKEN_INVALID"}
    pem = public_pem(rsa_key())
    yield "the public key as a secret", token(claims(), by_secret(pem), "HS256", kid="first"), {"TOKEN_INVALID"}
    yield "the public key as a secret, RS256", token(claims(), by_secret(pem), kid="first"), {"TOKEN_INVALID"}
    yield "another key of the same name", token(claims(), by_rsa(rsa_key("stranger")), kid="first"), {"TOKEN_INVALID"}
    for kid in ("../../../dev/null", "first' OR '1'='1", "x' UNION SELECT 'secret", "http://127.0.0.1:1/k", "x" * 300):
        yield f"kid {kid[:20]}", with_header(kid=kid), {"TOKEN_INVALID"}
    yield "jku", with_header(jku="http://127.0.0.1:1/keys"), {"TOKEN_INVALID"}
    yield "x5u", with_header(x5u="http://127.0.0.1:1/keys"), {"TOKEN_INVALID"}
    stranger = token(claims(), by_rsa(rsa_key("stranger")), jwk=jwk(rsa_key("stranger")))
    yield "jwk", stranger, {"TOKEN_INVALID"}
    yield "crit", with_header(crit=["exp"]), {"TOKEN_INVALID"}
    for name in ("exp", "iat", "iss", "aud", "sub", "tenant"):
        yield f"no {name}", signed(**{name: None}), {"TOKEN_CLAIMS"}
    wrong: Mapping[str, object] = {"iss": "https://evil.test/", "aud": "other", "sub": "", "tenant": "*"}
    for name, value in wrong.items():
        yield f"wrong {name}", signed(**{name: value}), {"TOKEN_CLAIMS"}
    yield "expired", signed(exp=now - 60), {"TOKEN_EXPIRED"}
    yield "not yet", signed(nbf=now + 3600), {"TOKEN_NOT_YET_VALID"}
    yield "of tomorrow", signed(iat=now + 86_400, exp=now + 90_000), {"TOKEN_NOT_YET_VALID"}
    yield "exp as text", signed(exp=str(now + 3600)), {"TOKEN_CLAIMS"}
    yield "nbf as text", signed(nbf=str(now)), {"TOKEN_CLAIMS"}
    yield "one that begins as a good one does", like(good), {"TOKEN_INVALID"}
    yield "a changed signature", good[:-8] + ("AAAAAAAA" if good[-8:] != "AAAAAAAA" else "BBBBBBBB"), {"TOKEN_INVALID"}
    yield "a cut token", good[:-20], {"TOKEN_INVALID"}
    yield "100 KB", "a" * 100_000, {"CREDENTIAL_TOO_LONG", ""}
    yield "100 KB of claims", token(claims(note="x" * 75_000), FIRST, kid="first"), {"CREDENTIAL_TOO_LONG", ""}


async def bad_credentials(door: Guarded) -> dict[str, tuple[str | None, set[str]]]:
    """What `Authorization` says, and the reasons with which it may be refused."""
    key = new_key().text
    swapped = key[:-1] + ("a" if key[-1] != "a" else "b")
    revoked, record = await door.kept("acme", "admin")
    await door.store.revoke("acme", record.id, int(time.time() * 1000))
    before = Issuer(door.store, PEPPER.encode(), now=lambda: time.time() - 100)
    expired, _ = await before.issue("acme", "ended", ["admin"], 10, TENANT_SCOPES)
    return {
        "missing": (None, {"NO_CREDENTIAL"}),
        "empty": ("", {"NO_CREDENTIAL"}),
        "no scheme": (key, {"BAD_SCHEME"}),
        "another scheme": ("Basic YWRtaW46YWRtaW4=", {"BAD_SCHEME"}),
        "a scheme alone": ("Bearer", {"BAD_HEADER"}),
        "two": (f"Bearer {key} {key}", {"BAD_HEADER"}),
        "garbage": ("Bearer {}%00'--", {"BAD_HEADER"}),
        "no token": ("Bearer letmein", {"TOKEN_INVALID"}),
        "a cut key": (f"Bearer {key[:-7]}", {"KEY_MALFORMED"}),
        "a wrong checksum": (f"Bearer {swapped}", {"KEY_MALFORMED"}),
        "an unknown key": (f"Bearer {key}", {"BAD_CREDENTIAL"}),
        "a revoked key": (f"Bearer {revoked}", {"BAD_CREDENTIAL"}),
        "an expired key": (f"Bearer {expired}", {"BAD_CREDENTIAL"}),
        **{name: (f"Bearer {text}", reasons) for name, text, reasons in tokens()},
    }


async def routes(door: Guarded) -> list[tuple[str, str]]:
    paths = (await door.gateway.http.get("/openapi.json")).json()["paths"]
    return [(verb.upper(), re.sub(r"\{[^}]+\}", "x", path)) for path, verbs in paths.items() for verb in verbs]


def rpcs(port: int) -> list[str]:
    """Every method that reflection shows."""
    client = ReflectingClient(f"127.0.0.1:{port}")
    found = []
    for service in client.services() - OPEN_SERVICES:
        found += [f"/{service}/{method.name}" for method in client._pool.FindServiceByName(service).methods]
    return found


class Matrix:
    """Asks, and remembers what was not refused as it should be."""

    def __init__(self, door: Guarded) -> None:
        self.door = door
        self.asked = 0
        self.wrong: list[object] = []
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def route(self, verb: str, path: str, name: str, header: str | None, reasons: set[str]) -> None:
        async with self._slots:
            headers = {} if header is None else {"authorization": header}
            answer = await self.door.gateway.http.request(verb, path, headers=headers)
        self.asked += 1
        # What speaks as OpenAI does has no reason but a code of its own.
        said = answer.json()
        is_told = said.get("reason") in reasons or said.get("error", {}).get("code") == "invalid_api_key"
        if answer.status_code != 401 or not is_told:
            self.wrong.append((name, verb, path, answer.status_code, answer.text[:200]))

    async def rpc(self, method: str, name: str, header: str | None, reasons: set[str]) -> None:
        metadata = () if header is None else (("authorization", header),)
        rpc = self.door.gateway.channel.stream_stream(method)
        try:
            async with self._slots:
                async for _ in rpc(iter([b""]), metadata=metadata, timeout=30):
                    pass
            code, text = grpc.StatusCode.OK, ""
        except grpc.aio.AioRpcError as error:
            code, text = error.code(), str(error.trailing_metadata())
        self.asked += 1
        # gRPC itself refuses headers of 100 KB before any of us sees them.
        too_long = code is grpc.StatusCode.RESOURCE_EXHAUSTED and "CREDENTIAL_TOO_LONG" in reasons
        if not too_long and (code is not grpc.StatusCode.UNAUTHENTICATED or not any(one in text for one in reasons)):
            self.wrong.append((name, method, code, text[:200]))


@pytest.fixture
async def door(open_gateway, redis_url, tmp_path):
    async with guarded(open_gateway, redis_url, tmp_path) as opened:
        yield opened


def heard(door: Guarded) -> int:
    backends = door.gateway.backends
    stages = [one.stage for one in (backends.embedder, backends.retriever, backends.generator, backends.ingestor)]
    return sum(len(stage.calls) for stage in stages)


async def test_no_bad_credential_opens_any_route_or_method(door):
    matrix, bad = Matrix(door), await bad_credentials(door)
    guarded_routes = [(verb, path) for verb, path in await routes(door) if path not in OPEN_PATHS]
    methods = await asyncio.to_thread(rpcs, door.gateway.grpc_port)
    assert len(bad) >= 40
    assert bad.keys() >= EVERYWHERE
    assert {("GET", "/v1/documents"), ("POST", "/v1/query")} <= set(guarded_routes)
    assert {"/rag.v1.GeneratorService/Generate", "/rag.v1.RetrieverService/SnapshotIndex"} <= set(methods)
    cells = [
        *(matrix.route(*route, name, *bad[name]) for route in guarded_routes for name in EVERYWHERE),
        *(matrix.rpc(method, name, *bad[name]) for method in methods for name in EVERYWHERE),
        *(matrix.route("GET", "/v1/documents", name, *bad[name]) for name in bad.keys() - EVERYWHERE),
        *(matrix.rpc("/rag.v1.GeneratorService/Generate", name, *bad[name]) for name in bad.keys() - EVERYWHERE),
    ]
    await asyncio.gather(*cells)
    assert not matrix.wrong, matrix.wrong[:20]
    assert matrix.asked == len(cells)
    assert heard(door) == 0


async def answered(door: Guarded, method: str, key: str) -> tuple[grpc.StatusCode, str]:
    rpc = door.gateway.channel.stream_stream(method)
    try:
        async for _ in rpc(iter([b""]), metadata=(("authorization", f"Bearer {key}"),), timeout=20):
            return grpc.StatusCode.OK, ""
    except grpc.aio.AioRpcError as error:
        return error.code(), str(error.trailing_metadata())
    return grpc.StatusCode.OK, ""


async def test_the_same_routes_and_methods_know_a_good_credential(door):
    """So that the matrix does not show a door which nobody opens."""
    key = await door.key("acme", "operator")
    for verb, path in await routes(door):
        answer = await door.gateway.http.request(verb, path, headers=bearer(key), timeout=20)
        assert answer.status_code not in {401, 403, 500}, (verb, path, answer.text)
    for method in await asyncio.to_thread(rpcs, door.gateway.grpc_port):
        code, text = await answered(door, method, key)
        assert code not in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.INTERNAL}, (method, text)
        assert code is not grpc.StatusCode.PERMISSION_DENIED or "INTERNAL_METHOD" in text, method
    assert heard(door) > 0


async def test_what_is_open_is_open(door):
    for path in [*OPEN_PATHS, "/", "/docs", "/openapi.json"]:
        answer = await door.gateway.http.get(path, follow_redirects=True)
        assert answer.status_code == 200, path
    assert {path for _, path in await routes(door)} >= OPEN_PATHS
    assert heard(door) == 0
