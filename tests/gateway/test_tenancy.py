"""At the door the tenant is the door's: no header, field or parameter of a client's changes it, in any method and route."""

from __future__ import annotations

import grpc
import pytest

from tests.contract import call, methods, name_of
from tests.hostile import HOSTILE, Maker

METHODS = {name_of(method): method for method in methods()}
AMONG_THEMSELVES = {
    *("CheckDocuments", "EraseJobs", "ForgetAnswers", "ForgetRankings", "ForgetVectors", "GetStored", "Index"),
    *("RevokeIndex", "SplitPages"),
}
CLAIMS = [value for value in ["other", *HOSTILE] if value.isascii() and value.isprintable() and len(value) < 100]
ROUTES = [
    ("GET", "/v1/documents", {}),
    ("GET", "/v1/documents/doc-1", {}),
    ("GET", "/v1/documents/doc-1/passages", {}),
    ("DELETE", "/v1/documents/doc-1", {}),
    ("GET", "/v1/jobs", {}),
    ("GET", "/v1/jobs/job-1", {}),
    ("GET", "/v1/jobs/job-1/events", {}),
    ("POST", "/v1/jobs/job-1:cancel", {}),
    ("POST", "/v1/jobs/job-1:retry", {"json": {}}),
    ("POST", "/v1/search", {"json": {"query": "q"}}),
    ("POST", "/v1/query", {"json": {"question": "q"}}),
    ("POST", "/v1/chat/completions", {"json": {"model": "ragmesh", "messages": [{"role": "user", "content": "q"}]}}),
    ("POST", "/v1/embeddings", {"json": {"model": "m", "input": "Text."}}),
    ("GET", "/v1/models", {}),
    ("GET", "/v1/models/ragmesh", {}),
    ("POST", "/v1/documents", {"json": {"name": "a.txt", "text": "Text."}}),
    ("POST", "/v1/documents", {"files": {"file": ("a.txt", b"Text.")}}),
    ("GET", "/v1/index", {}),
    ("POST", "/v1/index:rebuild", {"json": {}}),
    ("POST", "/v1/cache:invalidate", {}),
    ("GET", "/v1/usage", {}),
]
AT_THE_DOOR = {
    *(("GET", "/v1/keys"), ("POST", "/v1/keys"), ("POST", "/v1/keys/{key_id}:revoke")),
    *(("GET", "/v1/feedback"), ("POST", "/v1/feedback")),
}
"""They reach no service."""


def tenants(gateway) -> set[str]:
    """Those that any call reached a service for since the last look."""
    backends = gateway.backends
    stages = [one.stage for one in (backends.embedder, backends.retriever, backends.generator, backends.ingestor)]
    seen = {made.tenant for stage in stages for made in stage.calls}
    for stage in stages:
        stage.calls.clear()
    return seen


async def test_no_method_believes_a_client_about_its_tenant(gateway):
    reached = set()
    for name, method in METHODS.items():
        for requests in Maker().streams(method)[:1]:
            answer = await call(gateway.channel, method, requests, ("x-rag-tenant", "other"), ("tenant", "other"))
            if seen := tenants(gateway):
                assert seen == {"default"}, name
                reached.add(method.name)
            refused = answer.code is grpc.StatusCode.PERMISSION_DENIED
            assert refused == (method.name in AMONG_THEMSELVES), (name, answer)
    assert {"Generate", "Retrieve", "SubmitDocument", "GetJob", "GetDocument", "Embed"} <= reached


@pytest.mark.parametrize("claim", CLAIMS)
async def test_whatever_the_claim_says(gateway, claim):
    answer = await call(
        gateway.channel, METHODS["RetrieverService/GetDocument"], [_get("doc-1")], ("x-rag-tenant", claim)
    )
    assert answer.code is grpc.StatusCode.OK
    assert tenants(gateway) == {"default"}


@pytest.mark.parametrize(("verb", "path", "body"), ROUTES, ids=[f"{verb} {path}" for verb, path, _ in ROUTES])
async def test_no_route_believes_a_client_about_its_tenant(gateway, verb, path, body):
    headers = {"x-rag-tenant": "other", "x-tenant": "other"}
    plain = await gateway.http.request(verb, path, headers=headers, params={"tenant": "other"}, **body)
    assert plain.status_code < 500
    assert tenants(gateway) <= {"default"}
    if "json" in body:
        claimed = {**body["json"], "tenant": "other", "x-rag-tenant": "other", "metadata": {"tenant": "other"}}
        answer = await gateway.http.request(verb, path, headers=headers, json=claimed)
        assert answer.status_code < 500
        assert tenants(gateway) <= {"default"}


async def test_every_route_that_reaches_a_service_is_tried(gateway):
    paths = (await gateway.http.get("/openapi.json")).json()["paths"]
    known = {(verb, _template(path)) for verb, path, _ in ROUTES}
    served = {(verb.upper(), path) for path, verbs in paths.items() for verb in verbs if path.startswith("/v1/")}
    assert served == known | AT_THE_DOOR


def _template(path: str) -> str:
    for value, name in {"doc-1": "document_id", "job-1": "job_id", "ragmesh": "model"}.items():
        path = path.replace(value, f"{{{name}}}")
    return path


def _get(document_id: str):
    from rag.v1 import retriever_pb2

    return retriever_pb2.GetDocumentRequest(document_id=document_id)
