"""The description of the REST door is whole: examples that fit, reasons, who may come in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from redis.asyncio import Redis

from tests.gateway.owning import open_owned


@pytest.fixture
async def spec(redis: Redis, tenant: str) -> dict[str, Any]:
    async with open_owned(redis, tenant) as owned:
        found: dict[str, Any] = (await owned.http.get("/openapi.json")).json()
    return found


def operations(spec: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, found in spec["paths"].items():
        for method, operation in found.items():
            yield path, method, operation


def named(spec: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Our own routes; those in OpenAI's shape are described with them."""
    for path, _, operation in operations(spec):
        if path.startswith("/v1/") and "openai" not in operation["tags"]:
            yield operation["operationId"], operation


def strangers(schema: dict[str, Any], example: Any, at: str = "") -> Iterator[str]:
    """Members of an example that its schema does not know."""
    kinds = schema.get("anyOf", [schema])
    known = {name: one for kind in kinds for name, one in kind.get("properties", {}).items()}
    if isinstance(example, dict) and known:
        for name, value in example.items():
            yield from strangers(known[name], value, f"{at}.{name}") if name in known else [f"{at}.{name}"]
    if isinstance(example, list):
        for one in example:
            yield from strangers(schema.get("items", {}), one, at)


async def test_every_route_of_the_design_is_there(spec: dict[str, Any]) -> None:
    found = {f"{method.upper()} {path}" for path, method, _ in operations(spec)}
    assert {
        *("POST /v1/documents", "GET /v1/documents", "GET /v1/documents/{document_id}"),
        *("DELETE /v1/documents/{document_id}", "GET /v1/documents/{document_id}/passages"),
        *("GET /v1/jobs", "GET /v1/jobs/{job_id}", "GET /v1/jobs/{job_id}/events"),
        *("POST /v1/jobs/{job_id}:cancel", "POST /v1/jobs/{job_id}:retry", "POST /v1/query", "POST /v1/search"),
        *("POST /v1/feedback", "GET /v1/feedback", "GET /v1/usage", "POST /v1/cache:invalidate"),
        *("POST /v1/index:rebuild", "GET /v1/index", "POST /v1/keys", "GET /v1/keys", "POST /v1/keys/{key_id}:revoke"),
        *(
            "POST /v1/chat/completions",
            "POST /v1/embeddings",
            "GET /v1/models",
            "GET /healthz",
            "GET /readyz",
            "GET /metrics",
        ),
    } <= found


async def test_every_answer_has_an_example_that_fits_its_schema(spec: dict[str, Any]) -> None:
    without, wrong = [], []
    for name, operation in named(spec):
        for status, answer in operation["responses"].items():
            for kind, content in answer.get("content", {}).items():
                if "example" not in content:
                    without.append(f"{name} {status} {kind}")
                elif kind != "text/event-stream":
                    jsonschema_rs.validate(content["schema"], content["example"])
                    wrong += [f"{name} {status}{one}" for one in strangers(content["schema"], content["example"])]
    assert (without, wrong) == ([], [])


async def test_every_body_has_examples_and_every_member_a_description(spec: dict[str, Any]) -> None:
    schemas = spec["components"]["schemas"]
    without = []
    for name, operation in named(spec):
        for kind, content in operation.get("requestBody", {}).get("content", {}).items():
            schema = content["schema"]
            options = [schema, *schema.get("anyOf", [])]
            bodies = [schemas[one["$ref"].rpartition("/")[2]] for one in options if "$ref" in one]
            if not (content.get("examples") or any(body.get("examples") for body in bodies)):
                without.append(f"{name} {kind}")
            for body in bodies:
                without += [f"{name}.{key}" for key, one in body["properties"].items() if not one.get("description")]
    assert without == []


async def test_every_error_lists_its_reasons_and_who_may_call(spec: dict[str, Any]) -> None:
    for name, operation in named(spec):
        assert operation["security"] == [{"key": []}], name
        assert operation["description"], name
        statuses = set(operation["responses"])
        assert {"400", "401", "403", "429", "500", "503", "504"} <= statuses, name
        assert "422" not in statuses
        for status in sorted(statuses):
            text = operation["responses"][status]["description"]
            assert int(status) < 400 or "\n- `" in text or status == "503", f"{name} {status}"
        assert "scope needed" in operation["responses"]["403"]["description"]
        if "requestBody" in operation:
            assert {"408", "413", "415"} <= statuses, name
    assert spec["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert {tag for _, _, one in operations(spec) for tag in one["tags"]} == {tag["name"] for tag in spec["tags"]}
