"""Browsers at the door: pages of other sites, names that were made up, headers that keep answers harmless."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from rag.runtime.errors import PermissionDenied
from services.gateway.http.origin import check_host, check_site
from services.gateway.settings import GatewaySettings

PAGE = "https://chat.example.org"


@pytest.fixture
async def http(open_gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with open_gateway(cors_origins=(PAGE,)) as gateway:
        yield gateway.http


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080", "a.localhost", "127.3.2.1"]
)
def test_a_name_of_this_machine_is_answered(host: str) -> None:
    check_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "10.0.0.1",
        "[fe80::1]",
        "[::1].evil.example",
    ],
)
def test_another_name_is_refused(host: str) -> None:
    with pytest.raises(PermissionDenied, match="localhost"):
        check_host(host)


@given(st.text(max_size=40))
def test_any_host_is_answered_or_refused(host: str) -> None:
    with contextlib.suppress(PermissionDenied):
        check_host(host)


@pytest.mark.parametrize(
    ("sent", "is_let_in"),
    [
        ({}, True),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"origin": "http://localhost:8080", "sec-fetch-site": "same-origin"}, True),
        ({"origin": "http://localhost:3000", "sec-fetch-site": "same-site"}, False),
        ({"origin": "https://evil.example", "sec-fetch-site": "cross-site"}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
        ({"origin": PAGE, "sec-fetch-site": "cross-site"}, True),
        ({"origin": f"{PAGE}.evil.example"}, False),
    ],
)
def test_pages_of_other_sites_change_nothing(sent: dict[str, str], is_let_in: bool) -> None:
    headers = Headers({"host": "localhost:8080", **sent})
    if is_let_in:
        check_site(headers, {PAGE})
    else:
        with pytest.raises(PermissionDenied):
            check_site(headers, {PAGE})


async def test_the_refusals_are_problems_and_reach_nothing(gateway) -> None:
    foreign = await gateway.http.post("/v1/query", json={"question": "q"}, headers={"origin": "https://evil.example"})
    rebound = await gateway.http.get("/v1/documents", headers={"host": "evil.example"})
    read = await gateway.http.get("/v1/documents", headers={"origin": "https://evil.example"})
    assert [(one.status_code, one.json()["reason"]) for one in (foreign, rebound)] == [
        (403, "CROSS_SITE"),
        (403, "HOST_NOT_LOCAL"),
    ]
    assert foreign.headers["content-type"] == "application/problem+json"
    assert foreign.headers["x-request-id"] == foreign.json()["request_id"]
    assert read.status_code == 200
    assert "access-control-allow-origin" not in read.headers
    assert gateway.backends.generator.stage.calls == []


async def test_a_page_that_may_call_is_told_so_before_it_sends_a_key(http: httpx.AsyncClient) -> None:
    asked = {
        "origin": PAGE,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    answer = await http.options("/v1/query", headers=asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "Authorization" in answer.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer.headers
    refused = await http.options("/v1/query", headers={**asked, "origin": "https://evil.example"})
    assert "access-control-allow-origin" not in refused.headers


async def test_a_page_that_may_call_reads_answers_errors_and_their_headers(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/query", json={"question": "q"}, headers={"origin": PAGE})
    missing = await http.get("/v1/documents/none", headers={"origin": PAGE})
    assert (answer.status_code, missing.status_code) == (200, 404)
    for one in (answer, missing):
        assert one.headers["access-control-allow-origin"] == PAGE
        assert {"X-Request-Id", "Retry-After", "RateLimit-Remaining"} <= {
            name.strip() for name in one.headers["access-control-expose-headers"].split(",")
        }


@pytest.mark.parametrize("path", ["/v1/documents", "/nope", "/healthz", "/metrics", "/docs", "/"])
async def test_no_answer_is_taken_for_something_else(gateway, path: str) -> None:
    answer = await gateway.http.get(path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert len(answer.headers.get_list("x-content-type-options")) == 1
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("origins", ["*", "https://a.example/", "chat.example.org", "https://a.example, *", "null"])
def test_what_is_no_origin_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, origins: str) -> None:
    monkeypatch.setenv("GATEWAY_CORS_ORIGINS", origins)
    with pytest.raises(ValueError, match="is no origin"):
        GatewaySettings()


async def test_a_body_of_another_type_is_refused(gateway) -> None:
    sent = await gateway.http.post("/v1/query", content='{"question":"q"}', headers={"content-type": "text/plain"})
    assert (sent.status_code, sent.json()["reason"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert sent.headers["content-type"] == "application/problem+json"
