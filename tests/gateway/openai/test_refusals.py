"""What is refused is refused in OpenAI's shape, with the parameter's name, on OpenAI's paths and on no other."""

from __future__ import annotations

import json

import openai
import pytest

from rag.runtime.errors import InvalidInput, Overloaded, PermissionDenied, Unauthenticated
from services.gateway.access.access import Anybody
from tests.gateway.openai.conftest import with_defaults

TEXT = {"role": "user", "content": "why?"}
IMAGE = {"type": "image_url", "image_url": {"url": "http://x/"}}
REFUSED = [
    ({"n": 2}, "n", "unsupported_parameter"),
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "unsupported_parameter"),
    ({"tool_choice": "required"}, "tool_choice", "unsupported_parameter"),
    ({"functions": [{"name": "f"}]}, "functions", "unsupported_parameter"),
    ({"logprobs": True}, "logprobs", "unsupported_parameter"),
    ({"response_format": {"type": "json_object"}}, "response_format", "unsupported_parameter"),
    ({"modalities": ["text", "audio"]}, "modalities", "unsupported_parameter"),
    ({"audio": {"voice": "alloy", "format": "wav"}}, "audio", "unsupported_parameter"),
    ({"stop": ["\n"]}, "stop", "unsupported_parameter"),
    ({"logit_bias": {"1": 5}}, "logit_bias", "unsupported_parameter"),
    ({"web_search_options": {}}, "web_search_options", "unsupported_parameter"),
    ({"stream_options": {"include_usage": True}}, "stream_options", "invalid"),
    ({"messages": []}, "messages", "invalid"),
    ({"messages": [{"role": "system", "content": "a"}]}, "messages", "invalid"),
    ({"messages": [TEXT, {"role": "assistant", "content": "a"}]}, "messages", "invalid"),
    ({"messages": [TEXT, {"role": "tool", "content": "a", "tool_call_id": "1"}]}, "messages[1].role", "invalid"),
    ({"messages": [{"role": "user", "content": [IMAGE]}]}, "messages[0].content", "invalid"),
    ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content", "invalid"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "invalid"),
    ({"temperature": "hot"}, "temperature", "invalid"),
    ({"extra_body": {"rag": {"colour": 1}}}, "rag.colour", "invalid"),
    ({"extra_body": {"rag": {"filter": {"conditions": [{}]}}}}, "rag.filter.conditions[0].key", "invalid"),
    ({"metadata": {"rag.colour": "1"}}, "metadata.rag.colour", "invalid"),
    ({"metadata": {"rag.top_k": "many"}}, "metadata.rag.top_k", "invalid"),
]
ERRORS = [
    (InvalidInput("a", "EMPTY_QUESTION"), (400, "invalid_request_error", "messages", "empty_question")),
    (InvalidInput("a", "QUESTION_TOO_LONG"), (400, "invalid_request_error", "messages", "context_length_exceeded")),
    (InvalidInput("a", "BAD_MAX_TOKENS"), (400, "invalid_request_error", "max_tokens", "bad_max_tokens")),
    (InvalidInput("a", "BAD_FILTER"), (400, "invalid_request_error", "rag.filter", "bad_filter")),
    (Overloaded("a", "RATE_LIMITED", 2), (429, "requests", None, "rate_limit_exceeded")),
    (Overloaded("a", "TOKENS_SPENT", 2), (429, "insufficient_quota", None, "insufficient_quota")),
    (PermissionDenied("a", "SCOPE_MISSING"), (403, "invalid_request_error", None, "scope_missing")),
    (ValueError("secret"), (500, "server_error", None, "internal")),
]
PATHS = [("POST", "/v1/chat/completions"), ("POST", "/v1/embeddings"), ("GET", "/v1/models"), ("GET", "/v1/models/m")]


async def test_what_cannot_be_done_is_refused_by_name(gateway, client):
    for asked, param, code in REFUSED:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(**with_defaults(asked))
        assert (caught.value.param, caught.value.code, caught.value.type) == (param, code, "invalid_request_error")
        assert caught.value.body.keys() == {"message", "type", "param", "code"}
    assert not gateway.backends.generator.stage.requests


async def test_another_model_is_not_found(client):
    for model in ("gpt-4o", "m", "", "RAGMESH"):
        with pytest.raises(openai.NotFoundError, match="`ragmesh`, `ragmesh-dense`") as caught:
            await client.chat.completions.create(**with_defaults({"model": model}))
        assert (caught.value.param, caught.value.code) == ("model", "model_not_found")


async def test_an_error_of_a_service_keeps_its_meaning(gateway, client):
    for error, expected in ERRORS:
        gateway.backends.generator.stage.script = [error]
        for stream in (False, True):
            with pytest.raises(openai.APIStatusError) as caught:
                await client.chat.completions.create(**with_defaults({"stream": stream}))
            told = caught.value
            assert (told.status_code, told.type, told.param, told.code) == expected
            assert told.request_id
            assert "secret" not in str(told)


async def test_a_caller_whom_nobody_knows_reads_openais_shape_on_openais_paths_only(gateway, monkeypatch):
    async def refuse(_self: object, _authorization: str, _address: str) -> None:
        raise Unauthenticated("Send a key.", "NO_CREDENTIAL")

    monkeypatch.setattr(Anybody, "identify", refuse)
    for verb, path in PATHS:
        response = await gateway.http.request(verb, path)
        assert (response.status_code, response.headers["content-type"]) == (401, "application/json")
        assert response.json() == {
            "error": {
                "message": "Send a key.",
                "type": "invalid_request_error",
                "param": None,
                "code": "invalid_api_key",
            }
        }
    other = await gateway.http.get("/v1/documents")
    assert (other.status_code, other.headers["content-type"]) == (401, "application/problem+json")


async def test_a_body_that_is_no_object_is_a_bad_request(gateway):
    for raw in (b"", b"[", b"[]", b'{"model": "\xff"}', b"5"):
        for _, path in PATHS[:2]:
            response = await gateway.http.post(path, content=raw, headers={"content-type": "application/json"})
            assert response.status_code == 400
            assert response.json()["error"]["type"] == "invalid_request_error"


async def test_no_route_and_no_method_read_the_same_way(gateway):
    for verb, path, status in (
        ("GET", "/v1/chat/completions", 405),
        ("GET", "/v1/chat/else", 404),
        ("POST", "/v1/models", 405),
    ):
        response = await gateway.http.request(verb, path)
        assert (response.status_code, list(response.json())) == (status, ["error"])


async def test_a_body_over_the_limit_is_refused(open_gateway):
    async with open_gateway(max_body_bytes=1000) as gateway:
        body = json.dumps(with_defaults({"user": "x" * 2000}))
        response = await gateway.http.post(
            "/v1/chat/completions", content=body, headers={"content-type": "application/json"}
        )
        assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")


async def test_every_error_is_described_in_openais_shape(gateway):
    paths = (await gateway.http.get("/openapi.json")).json()["paths"]
    for verb, path in PATHS:
        operation = paths["/v1/models/{model}" if path == "/v1/models/m" else path][verb.lower()]
        errors = {status: one for status, one in operation["responses"].items() if int(status) >= 400}
        assert {"400", "429", "500", "503", "504"} <= errors.keys()
        for error in errors.values():
            schema = error["content"]["application/json"]["schema"]
            assert schema["properties"]["error"]["required"] == ["message", "type", "param", "code"]
