"""Who comes in, by REST and by gRPC alike: the same credentials, the same words, the same limits."""

from __future__ import annotations

import time

import grpc
import pytest

from rag.access.api_key import new_key
from rag.runtime.errors import Unauthenticated
from rag.v1 import retriever_pb2
from tests.contract import call, methods, name_of
from tests.gateway.access.forging import SECRET, by_secret, claims, good_token, token
from tests.gateway.access.opening import bearer, guarded
from tests.redis_server import running_redis
from tests.waiting import until

METHODS = {name_of(method): method for method in methods()}
LIST, DELETE = METHODS["RetrieverService/ListDocuments"], METHODS["RetrieverService/DeleteDocument"]


@pytest.fixture
async def door(open_gateway, redis_url, tmp_path):
    async with guarded(open_gateway, redis_url, tmp_path) as opened:
        yield opened


async def rest(door, credential, path="/v1/documents", verb="GET"):
    """The status and the reason of an answer."""
    answer = await door.gateway.http.request(verb, path, headers=bearer(credential))
    body = answer.json() if answer.content else {}
    return answer.status_code, body.get("reason", "")


async def rpc(door, credential, method=LIST, *metadata):
    requests = {
        LIST: retriever_pb2.ListDocumentsRequest(),
        DELETE: retriever_pb2.DeleteDocumentRequest(document_id="doc-1"),
    }
    answer = await call(
        door.gateway.channel, method, [requests[method]], ("authorization", f"Bearer {credential}"), *metadata
    )
    return answer.code, answer.reason


class Strangers(dict):
    """The documents of a service that does not believe who calls it."""

    def __contains__(self, _document_id):
        raise Unauthenticated("The identity of the call is not one of this mesh.", "BAD_IDENTITY")


def seen(door):
    """Who called the retriever since the last look."""
    calls = door.gateway.backends.retriever.stage.calls
    found = [made.tenant for made in calls]
    calls.clear()
    return found


SCOPES = [
    (("query",), True, False),
    (("ingest",), False, True),
    (("query", "ingest"), True, True),
    (("admin",), True, True),
    (("operator",), True, True),
]


@pytest.mark.parametrize(("scopes", "may_read", "may_delete"), SCOPES)
async def test_a_key_may_what_its_scopes_say(door, tenant, scopes, may_read, may_delete):
    key = await door.key(tenant, *scopes)
    told = [await rest(door, key), await rest(door, key, "/v1/documents/doc-1", "DELETE")]
    asked = [await rpc(door, key, LIST), await rpc(door, key, DELETE)]
    for may, by_rest, by_rpc in zip((may_read, may_delete), told, asked, strict=True):
        assert by_rest[0] in ({200, 204} if may else {403})
        assert by_rpc[0] is (grpc.StatusCode.OK if may else grpc.StatusCode.PERMISSION_DENIED)
        assert (by_rest[1], by_rpc[1]) == (("", "") if may else ("SCOPE_MISSING", "SCOPE_MISSING"))
    assert set(seen(door)) == {tenant}


async def test_a_token_may_what_its_scopes_say_and_never_an_operators_part(door, tenant):
    assert await rest(door, good_token(tenant=tenant)) == (200, "")
    assert (await rpc(door, good_token(tenant=tenant)))[0] is grpc.StatusCode.OK
    assert set(seen(door)) == {tenant}
    for scope in ("", "operator", "internal", "ingest", ["everything"]):
        text = good_token(tenant=tenant, scope=scope)
        assert await rest(door, text) == (403, "SCOPE_MISSING")
        assert await rpc(door, text) == (grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING")
    assert not seen(door)


async def test_tokens_of_a_shared_secret(open_gateway, redis_url, tmp_path, tenant):
    by = {"jwt_jwks_file": None, "jwt_secret": SECRET}
    async with guarded(open_gateway, redis_url, tmp_path, **by) as door:
        text = token(claims(tenant=tenant), by_secret(SECRET.encode()), "HS256")
        assert await rest(door, text) == (200, "")
        assert (await rpc(door, text))[0] is grpc.StatusCode.OK
        assert await rest(door, good_token(tenant=tenant)) == (401, "TOKEN_INVALID")


async def test_without_a_signer_keys_alone_are_taken(open_gateway, redis_url, tmp_path, tenant):
    async with guarded(open_gateway, redis_url, tmp_path, jwt_jwks_file=None) as door:
        assert await rest(door, await door.key(tenant, "query")) == (200, "")
        assert await rest(door, good_token()) == (401, "TOKENS_NOT_TAKEN")


async def test_what_a_caller_says_about_himself_changes_nothing(door, tenant):
    key = await door.key(tenant, "query")
    for claim in ("other", "", "*", good_token(tenant="other", scope="admin")):
        headers = {**bearer(key), "x-rag-tenant": claim, "x-rag-identity": claim, "x-tenant": claim}
        assert (await door.gateway.http.get("/v1/documents", headers=headers)).status_code == 200
        assert (
            await door.gateway.http.get("/v1/documents", headers={**headers, "authorization": ""})
        ).status_code == 401
        more = (("x-rag-tenant", claim), ("x-rag-identity", claim))
        assert (await rpc(door, key, LIST, *more))[0] is grpc.StatusCode.OK
        assert (await rpc(door, key, DELETE, *more))[0] is grpc.StatusCode.PERMISSION_DENIED
        assert (await call(door.gateway.channel, LIST, [retriever_pb2.ListDocumentsRequest()], *more)).code is (
            grpc.StatusCode.UNAUTHENTICATED
        )
    assert set(seen(door)) == {tenant}


async def test_a_credential_given_twice_is_neither_of_the_two(door, tenant):
    """By REST and by gRPC alike: whoever stands in front may have looked at the other one."""
    key, other = await door.key(tenant, "query"), await door.key(f"{tenant}-b", "query")
    for first, second in ((key, other), (other, key), (key, key)):
        pairs = [("authorization", f"Bearer {first}"), ("authorization", f"Bearer {second}")]
        answer = await door.gateway.http.get("/v1/documents", headers=pairs)
        assert (answer.status_code, answer.json()["reason"]) == (401, "BAD_HEADER")
        by_rpc = await rpc(door, first, LIST, pairs[1])
        assert by_rpc == (grpc.StatusCode.UNAUTHENTICATED, "BAD_HEADER")
    raw = ("authorization-bin", f"Bearer {key}".encode())
    asked = [retriever_pb2.ListDocumentsRequest()]
    assert (await call(door.gateway.channel, LIST, asked, raw)).reason == "NO_CREDENTIAL"
    assert not seen(door)


async def test_who_is_refused_is_told_how_to_come_in(door):
    for path in ("/v1/documents", "/v1/models", "/v1/nothing"):
        answer = await door.gateway.http.get(path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert "www-authenticate" not in (await door.gateway.http.get("/healthz")).headers


async def test_services_that_do_not_know_the_gateway_are_no_fault_of_its_caller(door, tenant):
    """A caller who reads 401 throws his key away; that the services have two secrets is not for him to mend."""
    key = await door.key(tenant, "query")
    door.gateway.backends.retriever.documents = Strangers()
    answer = await door.gateway.http.get("/v1/documents/doc-1", headers=bearer(key))
    assert (answer.status_code, answer.json()["reason"]) == (503, "BAD_IDENTITY")


async def test_no_other_way_to_write_a_path_goes_round_the_door(door):
    http = door.gateway.http
    for path in ("//v1/documents", "/V1/documents", "/v1//documents", "/x/../v1/documents", "/%76%31/documents", "/v1"):
        assert (await http.get(path)).status_code in {401, 404}, path
    assert not seen(door)


async def test_a_revoked_key_opens_nothing_within_five_seconds(door, tenant):
    key, record = await door.kept(tenant, "query")
    assert await rest(door, key) == (200, "")
    await door.store.revoke(tenant, record.id, int(time.time() * 1000))

    async def is_refused() -> bool:
        return await rest(door, key) == (401, "BAD_CREDENTIAL")

    await until(is_refused, 20)
    assert await rpc(door, key) == (grpc.StatusCode.UNAUTHENTICATED, "BAD_CREDENTIAL")


async def test_when_redis_goes_known_keys_stay_good_and_nobody_else_comes_in(open_gateway, tmp_path, tenant):
    with running_redis(tmp_path / "r") as url:
        async with guarded(open_gateway, url, tmp_path) as door:
            known, stranger = await door.key(tenant, "query"), await door.key(tenant, "query")
            assert await rest(door, known) == (200, "")
            await door.redis.shutdown(nosave=True)
            assert await rest(door, known) == (200, "")
            assert await rest(door, stranger) == (503, "AUTH_UNAVAILABLE")
            assert await rpc(door, stranger) == (grpc.StatusCode.UNAVAILABLE, "AUTH_UNAVAILABLE")
            assert await rest(door, good_token(tenant=tenant)) == (200, "")
            assert await rest(door, f"{known[:-1]}x") == (401, "KEY_MALFORMED")


async def test_who_guesses_is_stopped_and_his_neighbours_are_not(open_gateway, redis_url, tmp_path, tenant):
    async with guarded(open_gateway, redis_url, tmp_path, bad_credentials_per_min=5) as door:
        known = await door.key(tenant, "query")
        assert await rest(door, known) == (200, "")
        for _ in range(5):
            assert await rest(door, new_key().text) == (401, "BAD_CREDENTIAL")
        refused = await door.gateway.http.get("/v1/documents", headers=bearer(new_key().text))
        assert (refused.status_code, refused.json()["reason"]) == (429, "TOO_MANY_BAD_CREDENTIALS")
        assert 1 <= int(refused.headers["retry-after"]) <= 12
        assert await rpc(door, new_key().text) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_BAD_CREDENTIALS")
        assert await rest(door, known) == (200, "")
        assert (await rpc(door, known))[0] is grpc.StatusCode.OK


async def test_a_gateway_whose_keys_cannot_be_had_says_so_and_takes_no_token(open_gateway, redis_url, tmp_path):
    missing = {"jwt_jwks_file": tmp_path / "missing.json"}
    async with guarded(open_gateway, redis_url, tmp_path, **missing) as door:
        assert await rest(door, good_token()) == (503, "AUTH_UNAVAILABLE")
        (tmp_path / "keys.json").rename(tmp_path / "missing.json")
