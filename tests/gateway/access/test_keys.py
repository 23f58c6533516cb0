"""What an admin may do with keys."""

from __future__ import annotations

import pytest

from rag.access.api_key import parse
from rag.access.issuing import Issuer
from rag.ids import new_id
from rag.runtime.access import Identity
from rag.runtime.errors import InvalidInput, NotFound, PermissionDenied
from services.gateway.access.keys import Keys
from tests.gateway.access.stores import DictKeys, Time

ADMIN = Identity("acme", frozenset({"admin"}))
PEPPER = b"p" * 32


@pytest.fixture
def store():
    return DictKeys()


@pytest.fixture
def keys(store):
    return Keys(Issuer(store, PEPPER, now=Time(1_000.0)), store, now=Time(2_000.0))


async def test_a_key_is_told_once_and_kept_as_a_digest(keys, store):
    secret, record = await keys.create("acme", "laptop", ["query", "query"], 60, ADMIN)
    assert store.records == {parse(secret).digest(PEPPER): record}
    assert (record.tenant, record.name, record.scopes) == ("acme", "laptop", {"query"})
    assert (record.created_ms, record.expires_ms, record.revoked_ms) == (1_000_000, 1_060_000, None)
    assert record.id.startswith("key_")
    assert await keys.list("acme") == [record]


async def test_a_key_without_an_end_has_none(keys):
    assert (await keys.create("acme", "x" * 100, {"ingest"}, 0, ADMIN))[1].expires_ms is None


@pytest.mark.parametrize(
    ("name", "scopes", "ttl_s", "reason"),
    [
        ("", ["query"], 0, "BAD_KEY_NAME"),
        ("  ", ["query"], 0, "BAD_KEY_NAME"),
        ("x" * 101, ["query"], 0, "BAD_KEY_NAME"),
        ("a\x1b[31m", ["query"], 0, "BAD_KEY_NAME"),
        ("a\nb", ["query"], 0, "BAD_KEY_NAME"),
        ("x", [], 0, "BAD_SCOPES"),
        ("x", ["operator"], 0, "BAD_SCOPES"),
        ("x", ["internal"], 0, "BAD_SCOPES"),
        ("x", ["query", "everything"], 0, "BAD_SCOPES"),
        ("x", ["query"], -1, "BAD_TTL"),
        ("x", ["query"], 2**62, "BAD_TTL"),
    ],
)
async def test_what_a_key_cannot_be(keys, name, scopes, ttl_s, reason):
    with pytest.raises(InvalidInput) as caught:
        await keys.create("acme", name, scopes, ttl_s, ADMIN)
    assert caught.value.reason == reason
    assert not await keys.list("acme")


@pytest.mark.parametrize(
    ("own", "given", "lacking"),
    [({"query"}, ["query", "ingest"], "ingest"), ({"ingest"}, ["admin"], "admin"), (set(), ["query"], "query")],
)
async def test_nobody_gives_what_he_does_not_have(keys, store, own, given, lacking):
    with pytest.raises(PermissionDenied) as caught:
        await keys.create("acme", "x", given, 0, Identity("acme", frozenset(own)))
    assert (caught.value.reason, caught.value.metadata) == ("SCOPE_MISSING", {"scope": lacking})
    assert not store.records


async def test_a_revoked_key_is_forgotten_at_once_where_it_was_revoked(store):
    forgotten = []
    keys = Keys(Issuer(store, PEPPER), store, forgotten.append, Time(2_000.0))
    _, record = await keys.create("acme", "x", ["query"], 0, ADMIN)
    assert (await keys.revoke("acme", record.id)).revoked_ms == 2_000_000
    assert forgotten == [record.id]


async def test_a_foreign_key_stays(keys):
    _, record = await keys.create("acme", "x", ["query"], 0, ADMIN)
    for key_id in (record.id, new_id("key")):
        with pytest.raises(NotFound):
            await keys.revoke("other", key_id)
    assert (await keys.list("acme"))[0].revoked_ms is None
    assert await keys.list("other") == []
