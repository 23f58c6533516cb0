"""Signatures: the algorithm is ours to choose, the key is ours to choose, and the header of a token chooses nothing."""

from __future__ import annotations

import json
from contextlib import contextmanager

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag.runtime.errors import Unauthenticated
from services.gateway.access.claims import Rules
from services.gateway.access.key_set import KeySet
from services.gateway.access.tokens import Tokens
from services.gateway.adapters.pyjwt_key_set import KeySetSignatures, public_keys
from services.gateway.adapters.pyjwt_shared_secret import SharedSecretSignatures
from tests.gateway.access import forging
from tests.gateway.access.forging import SECRET, by_ec, by_rsa, by_secret, claims, ec_key, rsa_key, token
from tests.gateway.access.stores import Time

RULES = Rules(forging.ISSUER, forging.AUDIENCE, "tenant", "scope", 10.0)
GUESSES = []


@contextmanager
def guess():
    GUESSES.append(1)
    yield


class Source:
    def __init__(self, body: bytes) -> None:
        self.body = body

    async def read(self) -> bytes:
        return self.body


def by_set(algorithm: str = "RS256", body: bytes = b"") -> KeySetSignatures:
    body = body or forging.jwks(first=rsa_key(), second=rsa_key("second"), curve=ec_key())
    return KeySetSignatures(KeySet(Source(body), lambda text: public_keys(text, algorithm)), algorithm)


SIGNATURES = {
    "HS256": (lambda: SharedSecretSignatures(SECRET.encode()), lambda: by_secret(SECRET.encode()), {}),
    "RS256": (lambda: by_set("RS256"), lambda: by_rsa(rsa_key()), {"kid": "first"}),
    "ES256": (lambda: by_set("ES256"), lambda: by_ec(ec_key()), {"kid": "curve"}),
}


@pytest.fixture(params=list(SIGNATURES))
def signed(request):
    """What checks signatures of one algorithm, what makes them, and how a token names the key."""
    check, sign, header = SIGNATURES[request.param]
    return request.param, check(), sign(), header


async def refused(signatures, text):
    with pytest.raises(Unauthenticated) as caught:
        await signatures.payload(text)
    assert caught.value.reason == "TOKEN_INVALID"


async def test_a_good_signature(signed):
    algorithm, signatures, sign, header = signed
    said = claims()
    assert json.loads(await signatures.payload(token(said, sign, algorithm, **header))) == said


async def test_what_other_libraries_make_is_taken():
    keys = {"HS256": (SECRET, {}), "RS256": (rsa_key(), {"kid": "first"}), "ES256": (ec_key(), {"kid": "curve"})}
    for algorithm, (key, header) in keys.items():
        made = jwt.encode(claims(), key, algorithm, header)
        assert json.loads(await SIGNATURES[algorithm][0]().payload(made))["sub"] == "ann"


@pytest.mark.parametrize(
    "alg", ["none", "None", "NONE", "nOnE", "", None, "HS512", "RS512", "PS256", "rs256", 7, ["RS256"]]
)
async def test_the_token_does_not_choose_the_algorithm(signed, alg):
    _, signatures, sign, header = signed
    for signature in (sign, forging.unsigned):
        await refused(signatures, token(claims(), signature, alg, **header))


async def test_a_token_without_a_signature(signed):
    algorithm, signatures, _, header = signed
    text = token(claims(), forging.unsigned, algorithm, **header)
    for value in (text, text + "AA", text[:-1], text + "..", "a" + text):
        await refused(signatures, value)


async def test_a_public_key_is_no_secret():
    for secret in (forging.public_pem(rsa_key()), rsa_key().public_key().public_numbers().n.to_bytes(256, "big")):
        for alg in ("HS256", "RS256"):
            await refused(by_set(), token(claims(), by_secret(secret), alg, kid="first"))


async def test_another_key_under_the_same_name():
    for name in ("second", "stranger"):
        await refused(by_set(), token(claims(), by_rsa(rsa_key(name)), kid="first"))


@pytest.mark.parametrize(
    "kid", ["../../dev/null", "/dev/null", "x' UNION SELECT 'k", "", "Second", 7, None, ["first"], {}, "x" * 300]
)
async def test_a_name_of_a_key_is_a_name_and_nothing_else(kid):
    await refused(by_set(), token(claims(), by_rsa(rsa_key()), kid=kid))


async def test_without_a_name_it_is_the_only_key_there_is():
    text = token(claims(), by_rsa(rsa_key()))
    assert await by_set(body=forging.jwks(first=rsa_key())).payload(text)
    await refused(by_set(), text)


@pytest.mark.parametrize("name", ["crit", "jku", "x5u", "x5c", "jwk", "b64", "zip"])
async def test_a_token_brings_no_key_and_asks_for_nothing(signed, name):
    algorithm, signatures, sign, header = signed
    values = {
        "jku": "https://evil.test/keys",
        "x5u": "https://evil.test/keys",
        "x5c": ["MIIB"],
        "jwk": forging.jwk(rsa_key("stranger")),
        "crit": ["exp"],
        "b64": False,
        "zip": "DEF",
    }
    await refused(signatures, token(claims(), sign, algorithm, **{**header, name: values[name]}))


async def test_a_token_for_another_use_is_none(signed):
    algorithm, signatures, sign, header = signed
    assert await signatures.payload(token(claims(), sign, algorithm, **header, typ="at+JWT"))
    for typ in ("secevent+jwt", "dpop+jwt", 7, None):
        await refused(signatures, token(claims(), sign, algorithm, **header, typ=typ))


@pytest.mark.parametrize(
    "text", ["", ".", "..", "...", "a.b.c", "é.é.é", "a.b", "a.b.c.d", "[" * 3_000, "e30.e30.", "W10.W10.AA"]
)
async def test_what_is_no_token(signed, text):
    await refused(signed[1], text)


async def test_a_header_that_is_nothing_but_brackets(signed):
    deep = forging.part(b'{"alg":' + b"[" * 1_200)
    await refused(signed[1], f"{deep}.e30.AA")


@given(st.text(alphabet="abcXYZ019-_.", max_size=120))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_text_is_refused(signed, text):
    await refused(signed[1], text)


@given(st.integers(0, 10_000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
async def test_any_changed_character_ends_it(signed, at):
    algorithm, signatures, sign, header = signed
    text = token(claims(), sign, algorithm, **header)
    at %= len(text)
    await refused(signatures, text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :])


SETS = {
    "one for encryption": {"use": "enc"},
    "one for another algorithm": {"alg": "RS512"},
    "one that signs only": {"key_ops": ["sign"]},
    "a private one": {"d": "AQAB"},
    "one without numbers": {"n": ""},
    "a secret": {"kty": "oct", "k": "c2VjcmV0"},
}


@pytest.mark.parametrize("change", SETS.values(), ids=list(SETS))
def test_keys_that_are_not_made_for_it_are_left_out(change):
    good = {"kid": "good", **forging.jwk(rsa_key("second"))}
    other = {"kid": "other", **forging.jwk(rsa_key()), **change}
    assert set(public_keys(json.dumps({"keys": [other, good, 7, {}]}).encode(), "RS256")) == {"good"}
    with pytest.raises(ValueError, match="RS256"):
        public_keys(json.dumps({"keys": [other]}).encode(), "RS256")


def test_a_short_key_is_left_out_and_one_of_another_kind():
    short = rsa.generate_private_key(65537, 1024)
    text = forging.jwks(short=short, curve=ec_key(), good=rsa_key())
    assert set(public_keys(text, "RS256")) == {"good"}
    assert set(public_keys(text, "ES256")) == {"curve"}


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"[]", b'{"keys": {}}', b'{"keys": []}', b"[" * 100_000, b"\xff", b"<html>"]
)
def test_what_is_no_set_of_keys(text):
    with pytest.raises(ValueError):
        public_keys(text, "RS256")


async def test_a_token_is_checked_once_until_it_ends():
    clock, checked = Time(1_800_000_000.0), []

    class Counting:
        async def payload(self, text: str) -> bytes:
            checked.append(text)
            return json.dumps(claims(clock.now - 100, exp=clock.now + 100)).encode()

    GUESSES.clear()
    tokens = Tokens(Counting(), RULES, clock)
    for _ in range(100):
        assert (await tokens.identify("a.b.c", guess)).tenant == "acme"
    assert len(checked) == len(GUESSES) == 1
    clock.now += 109
    await tokens.identify("a.b.c", guess)
    assert len(checked) == 1
    clock.now += 1
    await tokens.identify("a.b.c", guess)
    assert len(checked) == 2


async def test_a_token_that_lasts_for_ever_is_checked_again_for_its_key_may_be_gone():
    clock, checked = Time(1_800_000_000.0), []

    class Counting:
        async def payload(self, text: str) -> bytes:
            checked.append(text)
            return json.dumps(claims(clock.now, exp=clock.now + 10**9)).encode()

    tokens = Tokens(Counting(), RULES, clock)
    await tokens.identify("a.b.c", guess)
    clock.now += 300
    await tokens.identify("a.b.c", guess)
    assert len(checked) == 2


async def test_tokens_that_begin_alike_are_two():
    good = token({"note": "x" * 600, **claims()}, by_secret(SECRET.encode()), "HS256")
    tokens = Tokens(SharedSecretSignatures(SECRET.encode()), RULES)
    await tokens.identify(good, guess)
    other = token({"note": "x" * 600, **claims(tenant="globex")}, by_secret(b"x" * 40), "HS256")
    assert good[:500] == other[:500]
    with pytest.raises(Unauthenticated):
        await tokens.identify(other, guess)


async def test_no_number_of_tokens_fills_the_memory():
    tokens = Tokens(SharedSecretSignatures(SECRET.encode()), RULES)
    tokens._believed._most = 10
    for number in range(30):
        await tokens.identify(token(claims(sub=f"s{number}"), by_secret(SECRET.encode()), "HS256"), guess)
    assert len(tokens._believed) == 10
