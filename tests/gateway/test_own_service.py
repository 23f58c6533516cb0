"""What exists only at the door - keys, usage, feedback, caches - over REST and gRPC alike."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from redis.asyncio import Redis

from rag.ids import new_id
from rag.v1 import access_pb2
from rag.v1 import gateway_pb2 as pb
from services.gateway.feedback.answered import Answered
from tests.gateway.owning import Owned, open_owned


@pytest.fixture
async def owned(redis: Redis, tenant: str) -> AsyncIterator[Owned]:
    async with open_owned(redis, tenant) as opened:
        yield opened


def reason_of(error: grpc.aio.AioRpcError) -> str:
    info = error_details_pb2.ErrorInfo()
    assert rpc_status.from_call(error).details[0].Unpack(info)
    return info.reason


async def test_a_key_is_made_listed_and_revoked_by_rest(owned: Owned) -> None:
    made = await owned.http.post("/v1/keys", json={"name": "chat", "scopes": ["query", "ingest"], "ttl_s": 60})
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    key = made.json()["key"]
    assert made.json()["secret"].startswith("rmk_")
    assert (key["name"], key["scopes"], key["revoked_at"]) == ("chat", ["query", "ingest"], None)
    assert (await owned.http.get("/v1/keys")).json() == {"keys": [key]}
    revoked = (await owned.http.post(f"/v1/keys/{key['id']}:revoke")).json()["key"]
    assert revoked["revoked_at"]
    assert (await owned.http.get("/v1/keys")).json() == {"keys": [revoked]}


async def test_a_key_is_made_listed_and_revoked_by_grpc(owned: Owned) -> None:
    made = await owned.stub.CreateKey(pb.CreateKeyRequest(name="chat", scopes=[access_pb2.SCOPE_ADMIN]))
    assert made.secret.startswith("rmk_")
    assert list(made.key.scopes) == [access_pb2.SCOPE_ADMIN]
    assert not made.key.HasField("expires_at")
    assert list((await owned.stub.ListKeys(pb.ListKeysRequest())).keys) == [made.key]
    revoked = (await owned.stub.RevokeKey(pb.RevokeKeyRequest(key_id=made.key.id))).key
    assert revoked.HasField("revoked_at")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"name": "", "scopes": ["query"]}, "BAD_KEY_NAME"),
        ({"name": "n", "scopes": []}, "BAD_SCOPES"),
        ({"name": "n", "scopes": ["operator"]}, "INVALID"),
        ({"name": "n", "scopes": ["query"], "ttl_s": -1}, "BAD_TTL"),
        ({"name": "n", "scopes": ["query"], "tenant": "other"}, "INVALID"),
        ({"name": "\ud800", "scopes": ["query"]}, "INVALID"),
    ],
)
async def test_a_key_that_cannot_be_is_refused(owned: Owned, body: dict[str, object], reason: str) -> None:
    headers = {"content-type": "application/json"}
    refused = await owned.http.post("/v1/keys", content=json.dumps(body), headers=headers)
    assert (refused.status_code, refused.json()["reason"]) == (400, reason)


@pytest.mark.parametrize("scope", [access_pb2.SCOPE_OPERATOR, access_pb2.SCOPE_INTERNAL, 0, 77])
async def test_a_scope_that_no_key_may_carry_is_refused_by_grpc(owned: Owned, scope: int) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await owned.stub.CreateKey(pb.CreateKeyRequest(name="n", scopes=[scope]))  # type: ignore[list-item]
    assert reason_of(caught.value) == "BAD_SCOPES"


async def test_usage_is_told(owned: Owned, tenant: str) -> None:
    told = (await owned.http.get("/v1/usage")).json()
    by_grpc = await owned.stub.GetUsage(pb.GetUsageRequest())
    assert told["tenant"] == by_grpc.tenant == tenant
    assert told["requests_today"] == {"used": 3.0, "limit": None}
    assert told["streams"] == {"used": 2.0, "limit": 10.0}
    assert not by_grpc.requests_today.HasField("limit")
    assert told["day_started_at"] == "2025-11-21T00:00:00Z"


async def test_caches_are_emptied_on_behalf_of_the_tenant(owned: Owned, tenant: str) -> None:
    told = (await owned.http.post("/v1/cache:invalidate")).json()
    by_grpc = await owned.stub.InvalidateCache(pb.InvalidateCacheRequest())
    assert told == {"answers": 5, "rankings": 7}
    assert (by_grpc.answers, by_grpc.rankings) == (5, 7)
    for backend in (owned.backends.generator, owned.backends.retriever):
        assert {call.tenant for call in backend.stage.calls} == {tenant}
    assert owned.backends.generator.stage.requests[0].document_id == ""


async def test_an_opinion_is_taken_and_listed(owned: Owned, tenant: str) -> None:
    answer_id = new_id("ans")
    await owned.feedback.note(tenant, Answered(answer_id, "Why?", ("d1", "d2")))
    said = await owned.http.post("/v1/feedback", json={"answer_id": answer_id, "rating": "down", "comment": "No."})
    assert (said.status_code, said.content) == (204, b"")
    [told] = (await owned.http.get("/v1/feedback?rating=down")).json()["feedback"]
    assert told.pop("created_at")
    assert told == {
        "answer_id": answer_id,
        "rating": "down",
        "comment": "No.",
        "question": "Why?",
        "document_ids": ["d1", "d2"],
    }
    await owned.stub.SubmitFeedback(pb.SubmitFeedbackRequest(answer_id=answer_id, rating=pb.RATING_UP))
    assert (await owned.http.get("/v1/feedback?rating=down")).json() == {"feedback": [], "next_page_token": ""}
    [one] = (await owned.stub.ListFeedback(pb.ListFeedbackRequest())).feedback
    assert (one.rating, one.comment) == (pb.RATING_UP, "")


async def test_answers_of_others_and_of_nobody_are_unknown_alike(owned: Owned, tenant: str) -> None:
    foreign, unknown = new_id("ans"), new_id("ans")
    await owned.feedback.note(f"{tenant}-other", Answered(foreign, "Why?", ()))
    told = []
    for answer_id in (foreign, unknown):
        refused = await owned.http.post("/v1/feedback", json={"answer_id": answer_id, "rating": "up"})
        assert refused.status_code == 404
        told.append({**refused.json(), "request_id": "", "metadata": {}})
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"answer_id": "ans_1"}, "NO_RATING"),
        ({"answer_id": "", "rating": pb.RATING_UP}, "BAD_ID"),
        ({"answer_id": "ans_1", "rating": 77}, "BAD_RATING"),
        ({"answer_id": "ans_1", "rating": pb.RATING_UP, "comment": "x" * 2_001}, "COMMENT_TOO_LONG"),
    ],
)
async def test_an_opinion_that_cannot_be_is_refused(owned: Owned, fields: dict[str, object], reason: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await owned.stub.SubmitFeedback(pb.SubmitFeedbackRequest(**fields))  # type: ignore[arg-type]
    assert reason_of(caught.value) == reason


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/v1/keys", "admin"),
        ("GET", "/v1/keys", "admin"),
        ("POST", "/v1/keys/key_1:revoke", "admin"),
        ("POST", "/v1/cache:invalidate", "admin"),
        ("GET", "/v1/feedback", "admin"),
        ("POST", "/v1/feedback", "query"),
        ("GET", "/v1/usage", "query"),
        ("GET", "/v1/index", "operator"),
        ("POST", "/v1/index:rebuild", "operator"),
    ],
)
async def test_who_lacks_the_scope_is_refused_before_anything_is_done(
    owned: Owned, method: str, path: str, scope: str
) -> None:
    lacking = {"admin": "query,ingest", "query": "ingest", "operator": "admin"}[scope]
    body = {"/v1/keys": {"name": "n", "scopes": ["query"]}, "/v1/feedback": {"answer_id": "ans_1", "rating": "up"}}
    sent = {"json": body.get(path, {})} if method == "POST" and not path.endswith(("revoke", "invalidate")) else {}
    refused = await owned.http.request(method, path, headers=owned.as_("t1", lacking), **sent)
    assert (refused.status_code, refused.json()["reason"]) == (403, "SCOPE_MISSING")
    assert f"`{scope}`" in refused.json()["detail"]
    assert owned.gate.entered == []


async def test_every_method_passes_the_gate_once_by_either_way(owned: Owned) -> None:
    await owned.http.get("/v1/usage")
    await owned.stub.GetUsage(pb.GetUsageRequest())
    assert owned.gate.entered == ["/rag.v1.GatewayService/GetUsage"] * 2


async def test_the_index_is_described_and_rebuilt(owned: Owned) -> None:
    described = await owned.http.get("/v1/index")
    assert (described.status_code, described.json()["live"]) == (200, None)
    body = {"dry_run": True, "min_overlap": 0.5, "queries": [{"query": "q", "document_ids": ["d"]}]}
    rebuilt = await owned.http.post("/v1/index:rebuild", json=body)
    assert rebuilt.headers["content-type"].startswith("text/event-stream")
    assert "id: 1\nevent: progress\n" in rebuilt.text
    assert "id: 2\nevent: result\n" in rebuilt.text
    asked = owned.backends.retriever.stage.requests[-1]
    assert (asked.action, asked.dry_run, asked.force, asked.min_overlap) == (1, True, False, 0.5)
    assert [(one.query, list(one.document_ids)) for one in asked.queries] == [("q", ["d"])]
