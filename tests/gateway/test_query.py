from __future__ import annotations

import asyncio
import contextlib
import json

import httpx
import pytest
from prometheus_client import REGISTRY

from rag.runtime.errors import InvalidInput, NotFound, Unavailable
from rag.v1 import generator_pb2
from tests.gateway.events import parse
from tests.gateway.messages import answer
from tests.gateway.stage import HOLD
from tests.waiting import until

ORDER = ["accepted", "progress", "sources", "token", "token", "citation", "notice", "usage", "done"]


async def test_a_question_is_answered_as_one_json_object(gateway):
    response = await gateway.http.post("/v1/query", json={"question": "why?", "top_k": 3, "mode": "dense"})

    assert response.status_code == 200
    body = response.json()
    assert body["answer"] == "Hello world"
    assert (body["answer_id"], body["request_id"], body["finish_reason"]) == ("ans-1", "req-from-generator", "stop")
    assert body["citations"][0]["passage_id"] == "p-1"
    assert body["sources"][0]["passage"]["char_end"] == 2**53 - 1
    assert body["notices"] == [{"code": "KEYWORD_ONLY", "message": "Only words were searched."}]
    assert body["usage"]["cost_usd"] is None
    assert body["usage"]["cache_layer"] == "none"
    sent = gateway.backends.generator.stage.requests[0]
    assert (sent.question, sent.top_k, sent.HasField("temperature")) == ("why?", 3, False)


async def test_all_parameters_reach_the_generator(gateway):
    asked = {
        "question": "q",
        "mode": "keyword",
        "min_score": 0.5,
        "max_tokens": 9,
        "temperature": 0,
        "filter": {
            "document_ids": ["a", 'b"'],
            "conditions": [
                {"key": "year", "range": {"min": 2020}},
                {"key": "team", "any_of": ["x", "y"]},
                {"key": "public", "equals": True},
                {"key": "n", "not_equals": 1},
            ],
        },
    }
    await gateway.http.post("/v1/query", json=asked)

    sent = gateway.backends.generator.stage.requests[0]
    assert sent.HasField("temperature")
    assert list(sent.filter.document_ids) == ["a", 'b"']
    year, team, public, number = sent.filter.conditions
    assert year.range.min == 2020
    assert not year.range.HasField("max")
    assert [value.text for value in team.any_of.values] == ["x", "y"]
    assert public.equals.flag is True
    assert number.not_equals.number == 1


async def test_the_conversation_reaches_the_generator_in_its_order(gateway):
    turns = [{"role": "user", "text": "why?"}, {"role": "assistant", "text": "so [1]"}, {"role": "user", "text": " "}]
    await gateway.http.post("/v1/query", json={"question": "q", "history": turns})

    sent = gateway.backends.generator.stage.requests[0]
    assert [(turn.role, turn.text) for turn in sent.history] == [
        (generator_pb2.ROLE_USER, "why?"),
        (generator_pb2.ROLE_ASSISTANT, "so [1]"),
        (generator_pb2.ROLE_USER, " "),
    ]


@pytest.mark.parametrize(
    ("body", "sent"), [({}, (False, False)), ({"use_cache": True}, (True, True)), ({"use_cache": False}, (True, False))]
)
async def test_whether_the_cache_may_be_used_is_said_only_when_asked(gateway, body, sent):
    await gateway.http.post("/v1/query", json={"question": "q", **body})

    request = gateway.backends.generator.stage.requests[0]
    assert (request.HasField("use_cache"), request.use_cache) == sent


@pytest.mark.parametrize(
    ("body", "headers"), [({"stream": True}, {}), ({}, {"accept": "text/event-stream"})], ids=["stream", "accept"]
)
async def test_the_same_events_come_as_server_sent_events(gateway, body, headers):
    response = await gateway.http.post("/v1/query", json={"question": "why?", **body}, headers=headers)

    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache, no-transform"
    assert response.headers["x-accel-buffering"] == "no"
    events = parse(response.content)
    assert [event.name for event in events] == ORDER
    assert [event.id for event in events] == [str(n) for n in range(1, 10)]
    assert events[0].data == {"answer_id": "ans-1", "request_id": "req-from-generator"}
    assert events[1].data == {"stage": "retrieval", "elapsed_ms": 1.5}
    assert events[3].data == {"text": "Hello"}
    assert events[-1].data == {"finish_reason": "stop"}


async def test_an_error_before_the_first_event_is_a_status(gateway):
    gateway.backends.generator.stage.script = [InvalidInput("The question is empty.", "EMPTY_QUESTION")]

    response = await gateway.http.post("/v1/query", json={"question": "", "stream": True})

    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["reason"] == "EMPTY_QUESTION"


async def test_an_error_after_the_first_event_is_an_event_and_the_last(gateway):
    gateway.backends.generator.stage.script = [*answer()[:2], Unavailable("The model is away.", "MODEL_UNAVAILABLE")]

    events = parse((await gateway.http.post("/v1/query", json={"question": "q", "stream": True})).content)

    assert [event.name for event in events] == ["accepted", "progress", "error"]
    assert events[-1].data == {
        "code": "unavailable",
        "reason": "MODEL_UNAVAILABLE",
        "message": "The model is away.",
        "retryable": True,
    }


async def test_an_error_in_mid_stream_is_the_status_of_the_json_form(gateway):
    gateway.backends.generator.stage.script = [*answer()[:4], NotFound("Gone.", "GONE")]

    response = await gateway.http.post("/v1/query", json={"question": "q"})

    assert (response.status_code, response.json()["reason"]) == (404, "GONE")


async def test_an_answer_without_its_end_is_no_answer(gateway):
    gateway.backends.generator.stage.script = answer("half")[:-1]

    response = await gateway.http.post("/v1/query", json={"question": "q"})

    assert (response.status_code, response.json()["reason"]) == (500, "ANSWER_INCOMPLETE")


async def test_events_are_sent_when_they_come(gateway):
    script = answer("now", "later")
    gateway.backends.generator.stage.script = [*script[:4], HOLD, *script[4:]]

    async with gateway.http.stream("POST", "/v1/query", json={"question": "q", "stream": True}) as response:
        received = b""
        async for chunk in response.aiter_bytes():
            received += chunk
            if b"now" in received:
                gateway.backends.generator.stage.release.set()
    assert [event.name for event in parse(received)] == ORDER


async def test_a_silent_stream_is_kept_alive_by_comments(open_gateway):
    async with open_gateway(sse_ping_s=0.05) as gateway:
        gateway.backends.generator.stage.script = [*answer()[:1], HOLD, *answer()[1:]]
        async with gateway.http.stream("POST", "/v1/query", json={"question": "q", "stream": True}) as response:
            received = b""
            async for chunk in response.aiter_bytes():
                received += chunk
                if received.count(b": ping\n\n") >= 2:
                    gateway.backends.generator.stage.release.set()
    assert [event.name for event in parse(received)][-1] == "done"


async def test_a_reader_who_leaves_cancels_the_stream(gateway):
    gateway.backends.generator.stage.script = [*answer()[:1], HOLD]

    async with gateway.http.stream("POST", "/v1/query", json={"question": "q", "stream": True}) as response:
        await anext(response.aiter_bytes())

    await asyncio.wait_for(gateway.backends.generator.stage.cancelled.wait(), 20)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_who_leaves_before_the_first_byte_cancels_the_call(gateway, stream):
    stage = gateway.backends.generator.stage
    stage.script = [HOLD]
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.http_port)
    body = json.dumps({"question": "q", "stream": stream}).encode()
    head = f"POST /v1/query HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await asyncio.wait_for(stage.entered.wait(), 20)
    writer.close()
    await writer.wait_closed()

    await asyncio.wait_for(stage.cancelled.wait(), 20)


async def test_a_reader_who_takes_nothing_is_cut_off(open_gateway):
    async with open_gateway(sse_send_timeout_s=0.2) as gateway:
        stage = gateway.backends.generator.stage
        stage.script = [*answer()[:1], *(answer("x" * 100_000)[3] for _ in range(300)), HOLD]
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.http_port, limit=1024)
        body = b'{"question":"q","stream":true}'
        head = f"POST /v1/query HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await asyncio.wait_for(stage.entered.wait(), 20)
        await until(lambda: REGISTRY.get_sample_value("gateway_sse_streams") == 0)

        assert not (await _rest(reader)).endswith(b"0\r\n\r\n"), "half an answer must not look whole"
        writer.close()


async def _rest(reader: asyncio.StreamReader) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(1 << 20):
            received += chunk
    return received


async def test_a_search_returns_hits_and_a_summary(gateway):
    response = await gateway.http.post("/v1/search", json={"query": "q", "top_k": 5})

    body = response.json()
    assert response.status_code == 200
    assert body["hits"][0]["rank"] == 1
    assert (body["hits"][0]["keyword_score"], body["hits"][0]["dense_score"]) == (2.0, None)
    assert body["summary"]["hits"] == 1
    assert gateway.backends.retriever.stage.requests[0].top_k == 5


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ('{"question": NaN}', "body"),
        ('{"question": "q", "temperature": 1e999}', "body"),
        ('{"question": "q", "min_score": "high"}', "min_score"),
        ('{"question": "q", "colour": 1}', "colour"),
        ('{"question": "q", "top_k": 1.5}', "top_k"),
        ('{"question": "q", "top_k": 99999999999}', "top_k"),
        ('{"question": "q", "mode": "best"}', "mode"),
        ('{"question": "\\ud800"}', "body"),
        ('{"question": 5}', "question"),
        ("{}", "question"),
        ("", "body"),
        ("[", "body"),
        ("[]", "body"),
        ('{"question": "q", "filter": {"conditions": [{"key": "a"}]}}', "filter.conditions.0"),
        (
            '{"question": "q", "filter": {"conditions": [{"key": "a", "equals": 1, "any_of": [2]}]}}',
            "filter.conditions.0",
        ),
        ('{"question": "q", "filter": {"conditions": [{"key": "a", "equals": {}}]}}', "filter.conditions.0.equals"),
        ('{"question": "q", "use_cache": 1}', "use_cache"),
        ('{"question": "q", "history": {"role": "user", "text": "a"}}', "history"),
        ('{"question": "q", "history": [{"role": "system", "text": "a"}]}', "history.0.role"),
        ('{"question": "q", "history": [{"role": "user"}]}', "history.0.text"),
        ('{"question": "q", "history": [{"role": "user", "text": "a", "name": "b"}]}', "history.0.name"),
    ],
)
async def test_a_malformed_question_names_the_field(gateway, raw, field):
    response = await gateway.http.post("/v1/query", content=raw, headers={"content-type": "application/json"})

    assert response.status_code == 400
    body = response.json()
    assert body["reason"] == "INVALID"
    assert any(error["field"].startswith(field) for error in body["errors"]), body
    assert not gateway.backends.generator.stage.requests


async def test_broken_utf8_is_refused(gateway):
    headers = {"content-type": "application/json"}
    response = await gateway.http.post("/v1/query", content=b'{"question": "\xff"}', headers=headers)

    assert (response.status_code, response.json()["reason"]) == (400, "INVALID")


async def test_a_body_over_the_limit_is_refused_by_length_and_by_count(open_gateway):
    async with open_gateway(max_body_bytes=1000) as gateway:
        headers = {"content-type": "application/json"}

        async def chunks():
            for _ in range(20):
                yield b" " * 100

        for content in (b" " * 2000, chunks()):
            response = await gateway.http.post("/v1/query", content=content, headers=headers)
            assert (response.status_code, response.json()["reason"]) == (413, "BODY_TOO_LARGE")
        assert (await gateway.http.post("/v1/query", json={"question": "q"})).status_code == 200


async def test_a_body_that_does_not_arrive_is_given_up(open_gateway):
    async with open_gateway(unary_timeout_s=0.1) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.http_port)
        writer.write(
            b"POST /v1/query HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{"
        )
        assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
        writer.close()
        await writer.wait_closed()


async def test_a_stream_that_must_end_says_so(open_gateway):
    async with httpx.AsyncClient(timeout=20) as http:
        async with open_gateway(drain_grace_ms=500) as gateway:
            gateway.backends.generator.stage.script = [*answer()[:1], HOLD]
            url = f"http://127.0.0.1:{gateway.http_port}/v1/query"
            request = http.build_request("POST", url, json={"question": "q", "stream": True})
            response = await http.send(request, stream=True)
            chunks = response.aiter_bytes()
            received = await anext(chunks)
            rest = asyncio.create_task(_collect(chunks))
        received += await rest
    last = parse(received)[-1]
    assert last.name == "error"
    assert (last.data["code"], last.data["retryable"]) == ("restarting", True)


async def _collect(chunks):
    return b"".join([chunk async for chunk in chunks])
