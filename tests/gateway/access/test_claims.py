"""What a token may say: for us, for now, about somebody; and that it gives no more than an outsider can have."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.runtime.access import Identity
from rag.runtime.errors import Unauthenticated
from services.gateway.access.claims import Rules, believed
from tests.gateway.access.forging import AUDIENCE, ISSUER, claims

NOW = 1_800_000_000.0
RULES = Rules(ISSUER, AUDIENCE, "tenant", "scope", 10.0)


def said(**changes):
    return believed(json.dumps(claims(NOW, **changes)).encode(), RULES, NOW)


def test_a_good_token():
    assert said().identity == Identity("acme", frozenset({"query"}), "ann")
    assert said().until == NOW + 3600 + 10


GOOD = [
    {"aud": ["other", AUDIENCE]},
    {"exp": NOW - 9.9},
    {"exp": NOW + 0.5},
    {"iat": NOW + 9.9},
    {"nbf": NOW + 9.9},
    {"nbf": 0},
    {"more": {"deep": [1]}},
]


@pytest.mark.parametrize("changes", GOOD)
def test_what_is_taken(changes):
    assert said(**changes).identity.subject == "ann"


BAD = [
    *[({name: None}, "TOKEN_CLAIMS") for name in ("exp", "iat", "iss", "aud", "sub", "tenant")],
    ({"exp": NOW - 10}, "TOKEN_EXPIRED"),
    ({"exp": str(int(NOW + 100))}, "TOKEN_CLAIMS"),
    ({"exp": True}, "TOKEN_CLAIMS"),
    ({"exp": [NOW + 100]}, "TOKEN_CLAIMS"),
    ({"exp": float("inf")}, "TOKEN_CLAIMS"),
    ({"exp": float("nan")}, "TOKEN_CLAIMS"),
    ({"exp": 10**400}, "TOKEN_CLAIMS"),
    ({"exp": -1}, "TOKEN_CLAIMS"),
    ({"iat": NOW + 11}, "TOKEN_NOT_YET_VALID"),
    ({"iat": "now"}, "TOKEN_CLAIMS"),
    ({"nbf": NOW + 11}, "TOKEN_NOT_YET_VALID"),
    ({"nbf": "0"}, "TOKEN_CLAIMS"),
    ({"iss": "https://id.test"}, "TOKEN_CLAIMS"),
    ({"iss": f"{ISSUER}x"}, "TOKEN_CLAIMS"),
    ({"iss": [ISSUER]}, "TOKEN_CLAIMS"),
    ({"iss": ""}, "TOKEN_CLAIMS"),
    ({"aud": "rag"}, "TOKEN_CLAIMS"),
    ({"aud": []}, "TOKEN_CLAIMS"),
    ({"aud": [["ragmesh"]]}, "TOKEN_CLAIMS"),
    ({"aud": {"ragmesh": 1}}, "TOKEN_CLAIMS"),
    ({"sub": ""}, "TOKEN_CLAIMS"),
    ({"sub": 7}, "TOKEN_CLAIMS"),
    ({"sub": "x" * 256}, "TOKEN_CLAIMS"),
    ({"sub": "a\r\nb"}, "TOKEN_CLAIMS"),
    ({"tenant": ""}, "TOKEN_CLAIMS"),
    ({"tenant": "*"}, "TOKEN_CLAIMS"),
    ({"tenant": "a:b"}, "TOKEN_CLAIMS"),
    ({"tenant": ["acme"]}, "TOKEN_CLAIMS"),
    ({"tenant": "x" * 65}, "TOKEN_CLAIMS"),
]


@pytest.mark.parametrize(("changes", "reason"), BAD, ids=[f"{changes}"[:40] for changes, _ in BAD])
def test_what_is_not_taken(changes, reason):
    with pytest.raises(Unauthenticated) as caught:
        said(**changes)
    assert caught.value.reason == reason


@pytest.mark.parametrize("payload", [b"", b"[]", b"null", b"7", b"{", b"\xff", b"[" * 5_000, b"1" * 5_000])
def test_what_is_no_object_is_not_taken(payload):
    with pytest.raises(Unauthenticated) as caught:
        believed(payload, RULES, NOW)
    assert caught.value.reason == "TOKEN_CLAIMS"


@pytest.mark.parametrize(
    ("scope", "may"),
    [
        ("query ingest", {"query", "ingest"}),
        (["query", "admin", 7, ["ingest"]], {"query", "admin"}),
        ("openid query operator internal everything", {"query"}),
        (["operator", "internal"], set()),
        ("", set()),
        (None, set()),
        ({"query": True}, set()),
        (7, set()),
        ("QUERY", set()),
    ],
)
def test_scopes_of_others_are_ignored_and_ours_of_no_outsider_are_too(scope, may):
    assert said(scope=scope).identity.scopes == may


def test_the_claims_have_the_names_that_were_set():
    rules = Rules(ISSUER, AUDIENCE, "https://acme.test/tenant", "permissions", 0)
    payload = claims(NOW, **{"https://acme.test/tenant": "globex", "permissions": ["ingest"]})
    assert believed(json.dumps(payload).encode(), rules, NOW).identity == Identity(
        "globex", frozenset({"ingest"}), "ann"
    )


@given(
    st.dictionaries(
        st.sampled_from(sorted(claims())),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
            lambda inner: st.lists(inner, max_size=3),
        ),
    )
)
def test_whatever_it_says_it_is_believed_or_refused(changes):
    with suppress(Unauthenticated):
        assert said(**changes).identity.scopes <= {"query", "ingest", "admin"}
