"""The documentation of the ways in, as a user's generator reads it."""

from __future__ import annotations

import pytest


@pytest.fixture
async def spec(gateway):
    return (await gateway.http.get("/openapi.json")).json()


async def test_the_upload_is_described_with_its_headers_bodies_and_both_answers(spec):
    upload = spec["paths"]["/v1/documents"]["post"]

    named = {(parameter["in"], parameter["name"]) for parameter in upload["parameters"]}
    assert {("header", "Idempotency-Key"), ("header", "X-Document-Password"), ("query", "request_id")} <= named
    assert ("query", "password") not in named
    bodies = upload["requestBody"]["content"]
    form = bodies["multipart/form-data"]["schema"]["properties"]
    assert set(form) == {"document_id", "title", "metadata", "request_id", "password", "file"}
    assert form["file"]["items"] == {"type": "string", "format": "binary"}
    assert set(bodies["application/json"]["schema"]["properties"]) == {
        *("text", "url", "name", "document_id", "title", "metadata", "request_id", "password")
    }
    one, several = upload["responses"]["202"]["content"]["application/json"]["schema"]["anyOf"]
    assert {"id", "state", "unchanged"} <= one["properties"].keys()
    assert several["properties"]["results"]["items"]["properties"].keys() == {"name", "job", "problem"}
    assert {"400", "403", "409", "413", "503"} <= upload["responses"].keys()


async def test_the_verbs_of_a_job_are_described(spec):
    cancel, retry = spec["paths"]["/v1/jobs/{job_id}:cancel"]["post"], spec["paths"]["/v1/jobs/{job_id}:retry"]["post"]

    assert cancel["responses"]["200"]["content"]["application/json"]["schema"]["properties"]["state"]["enum"] == [
        *(None, "queued", "running", "ready", "failed", "cancelled", "dead")
    ]
    assert "404" in cancel["responses"]
    assert "202" in retry["responses"]
    assert "200" not in retry["responses"]
    assert not retry.get("requestBody", {}).get("required", False)
    assert "RetryBody" in str(retry["requestBody"])
    assert {("path", "job_id"), ("header", "X-Document-Password")} == {
        (p["in"], p["name"]) for p in retry["parameters"]
    }


async def test_the_states_that_jobs_can_be_listed_by_are_named(spec):
    parameters = {parameter["name"]: parameter for parameter in spec["paths"]["/v1/jobs"]["get"]["parameters"]}

    assert "'dead'" in str(parameters["state"]["schema"])
    assert parameters["state"]["required"] is False
