"""What all routes share: errors, ids, headers, health, documentation."""

from __future__ import annotations

import re
import socket
import time

import pytest

from rag.runtime import errors
from tests.gateway.messages import answer

TABLE = [
    (errors.InvalidInput("m", "R"), 400, None),
    (errors.FailedPrecondition("m", "R"), 400, None),
    (errors.Unauthenticated("m", "R"), 401, None),
    (errors.PermissionDenied("m", "R"), 403, None),
    (errors.NotFound("m", "R"), 404, None),
    (errors.AlreadyExists("m", "R"), 409, None),
    (errors.Conflict("m", "R"), 409, None),
    (errors.TooLarge("m", "R"), 413, None),
    (errors.Overloaded("m", "R", 2.5), 429, "3"),
    (errors.Internal("m", "R"), 500, None),
    (errors.Unavailable("m", "R"), 503, "1"),
    (errors.DeadlineExceeded("m", "R"), 504, None),
]


@pytest.mark.parametrize(("error", "status", "retry_after"), TABLE, ids=lambda value: type(value).__name__)
async def test_an_error_of_a_service_has_its_http_status(gateway, error, status, retry_after):
    gateway.backends.generator.stage.script = [error]

    response = await gateway.http.post("/v1/query", json={"question": "q"}, headers={"x-request-id": "abc"})

    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers.get("retry-after") == retry_after
    body = response.json()
    assert {"type", "title", "detail", "instance", "reason", "request_id"} <= body.keys()
    assert (body["status"], body["reason"], body["detail"]) == (status, "R", "m")
    assert (body["instance"], body["request_id"]) == ("/v1/query", "abc")
    assert body.get("retry_after") == (None if retry_after is None else getattr(error, "retry_after_s", 1.0))


async def test_a_bug_in_a_service_shows_no_internals(gateway):
    gateway.backends.generator.stage.script = [ValueError("secret path /etc")]

    response = await gateway.http.post("/v1/query", json={"question": "q"})

    assert (response.status_code, response.json()["detail"]) == (500, "Internal error.")
    assert "secret" not in response.text


async def test_a_bug_in_the_gateway_shows_no_internals(gateway, monkeypatch):
    def broken(_message):
        raise ValueError("secret")

    monkeypatch.setattr("services.gateway.http.wire.to_json", broken)
    response = await gateway.http.get("/v1/documents/doc-1")

    assert (response.status_code, response.json()["reason"]) == (500, "INTERNAL")
    assert "secret" not in response.text


async def test_a_service_that_is_away_is_unavailable_and_its_address_stays_inside(open_gateway):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with open_gateway(generator_address=f"127.0.0.1:{port}") as gateway:
        response = await gateway.http.post("/v1/query", json={"question": "q"})
        ready = await gateway.http.get("/readyz")
        alive = await gateway.http.get("/healthz")

    assert (response.status_code, response.json()["reason"]) == (503, "GENERATOR_UNAVAILABLE")
    assert str(port) not in response.text
    assert (ready.status_code, ready.json()["services"]["generator"]) == (503, "not_serving")
    assert ready.json()["services"]["retriever"] == "serving"
    assert alive.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", "/nope", 404, "ROUTE_NOT_FOUND"),
        ("GET", "/v1/query", 405, "METHOD_NOT_ALLOWED"),
        ("PUT", "/v1/documents/a", 405, "METHOD_NOT_ALLOWED"),
    ],
)
async def test_unknown_paths_and_methods_are_problems_too(gateway, method, path, status, reason):
    response = await gateway.http.request(method, path)

    assert (response.status_code, response.json()["reason"]) == (status, reason)
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["instance"] == path


async def test_a_request_id_travels_through_and_a_malformed_one_is_replaced(gateway):
    given = await gateway.http.get("/v1/documents/doc-1", headers={"x-request-id": "abc-1"})
    bad = await gateway.http.get("/v1/documents/doc-1", headers={"x-request-id": "a b;c"})
    missing = await gateway.http.get("/nope")

    calls = gateway.backends.retriever.stage.calls
    assert given.headers["x-request-id"] == calls[0].request_id == "abc-1"
    assert bad.headers["x-request-id"] == calls[1].request_id != "a b;c"
    assert missing.headers["x-request-id"] == missing.json()["request_id"]


async def test_the_trace_travels_through(gateway):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    await gateway.http.get("/v1/documents/doc-1", headers=headers)

    assert gateway.backends.retriever.stage.metadata["traceparent"].split("-")[1] == trace


async def test_who_the_caller_says_to_be_is_not_believed(gateway):
    await gateway.http.get("/v1/documents/doc-1", headers={"x-rag-tenant": "other"})

    assert gateway.backends.retriever.stage.calls[0].tenant == "default"


async def test_every_call_has_a_deadline(open_gateway):
    async with open_gateway(query_timeout_s=20) as gateway:
        gateway.backends.generator.stage.script = [answer()[0]]
        await gateway.http.post("/v1/query", json={"question": "q"})

    [call] = gateway.backends.generator.stage.calls
    assert call.deadline is not None
    assert call.deadline <= time.monotonic() + 20.1  # gRPC rounds up


async def test_the_readiness_follows_the_services(gateway):
    ready = await gateway.http.get("/readyz")
    assert ready.json() == {
        "status": "ready",
        "services": dict.fromkeys(["gateway", "embedder", "retriever", "generator", "ingestor"], "serving"),
    }


async def test_metrics_count_requests_by_route(gateway):
    await gateway.http.get("/v1/documents/doc-1")
    metrics = (await gateway.http.get("/metrics")).text

    assert 'gateway_http_requests_total{method="GET",route="/v1/documents/{document_id}",status="200"}' in metrics
    assert "doc-1" not in metrics


async def test_the_documentation_describes_operations_and_errors(gateway):
    spec = (await gateway.http.get("/openapi.json")).json()

    assert (await gateway.http.get("/docs")).status_code == 200
    operations = [operation for path in spec["paths"].values() for operation in path.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids)) == 28
    assert all(operation["summary"] for operation in operations)
    query = spec["paths"]["/v1/query"]["post"]
    assert "application/problem+json" in query["responses"]["400"]["content"]
    assert "text/event-stream" in query["responses"]["200"]["content"]
    assert "422" not in query["responses"]
    upload = spec["paths"]["/v1/documents"]["post"]
    assert set(upload["requestBody"]["content"]) == {
        "multipart/form-data",
        "application/json",
        "application/octet-stream",
    }


async def test_the_documentation_needs_no_other_host(gateway):
    page = await gateway.http.get("/docs")
    assets = re.findall(r'(?:src|href)="([^"]+)"', page.text)

    assert page.status_code == 200
    assert len(assets) >= 2
    for asset in assets:
        assert asset.startswith("/")
        assert (await gateway.http.get(asset)).status_code == 200
