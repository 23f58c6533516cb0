"""What a stream does beside sending text: it lives, breaks, is left, and quotes any text unharmed."""

from __future__ import annotations

import asyncio
import json

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.runtime.errors import Internal, Overloaded, Unavailable
from services.gateway.http.openai.shapes import Head
from services.gateway.http.openai.streaming import chunks
from tests.gateway.openai.cited import cited
from tests.gateway.openai.conftest import client_of, with_defaults
from tests.gateway.stage import HOLD

ASKED = with_defaults({"stream": True})


async def test_text_is_sent_when_it_comes(gateway, client):
    script = cited("now", "later")
    stage = gateway.backends.generator.stage
    stage.script = [*script[:3], HOLD, *script[3:]]
    text = ""
    async for chunk in await client.chat.completions.create(**ASKED):
        text += chunk.choices[0].delta.content or ""
        if text == "now":
            stage.release.set()
    assert text == "nowlater"


async def test_silence_before_and_in_an_answer_is_filled_with_comments_that_the_client_passes_over(open_gateway):
    async with open_gateway(sse_ping_s=0.05) as gateway, client_of(gateway) as client:
        stage = gateway.backends.generator.stage
        stage.script = [HOLD, *cited("late")]
        async with client.chat.completions.with_streaming_response.create(**ASKED) as response:
            received = ""
            async for text in response.iter_text():
                received += text
                if received.count(": ping\n\n") >= 2:
                    stage.release.set()
        assert received.endswith("data: [DONE]\n\n")
        stage.requests.clear()
        stage.script, stage.release = [*cited("a")[:2], HOLD, *cited("a")[2:]], asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, stage.release.set)
        chunks_ = [chunk async for chunk in await client.chat.completions.create(**ASKED)]
        assert chunks_[-1].choices[0].finish_reason == "stop"


async def test_an_answer_that_breaks_off_is_an_error_of_the_client_and_not_done(gateway, client):
    stage = gateway.backends.generator.stage
    stage.script = [*cited("half")[:3], Unavailable("The model is away.", "MODEL_UNAVAILABLE")]

    received: list[str] = []
    with pytest.raises(openai.APIError, match=r"The model is away\.") as caught:
        await _gather(client, received)
    assert "".join(received) == "half"
    assert (caught.value.code, caught.value.type, caught.value.param) == ("model_unavailable", "server_error", None)

    raw = (await gateway.http.post("/v1/chat/completions", json=ASKED)).text
    assert raw.split("\n\n")[-2].startswith('data: {"error":')
    assert "[DONE]" not in raw


async def _gather(client: openai.AsyncOpenAI, into: list[str]) -> None:
    async for chunk in await client.chat.completions.create(**ASKED):
        into.append(chunk.choices[0].delta.content or "")


async def test_an_answer_without_its_end_breaks_off(gateway, client):
    gateway.backends.generator.stage.script = cited("half")[:-1]

    with pytest.raises(openai.APIError, match="broke off"):
        [chunk async for chunk in await client.chat.completions.create(**ASKED)]


async def test_a_refusal_before_the_first_event_is_a_status(gateway, client):
    gateway.backends.generator.stage.script = [Overloaded("Too much.", "RATE_LIMITED", 7.0)]

    with pytest.raises(openai.RateLimitError) as caught:
        await client.chat.completions.create(**ASKED)
    assert caught.value.response.headers["retry-after"] == "7"
    assert caught.value.body == {
        "message": "Too much.",
        "type": "requests",
        "param": None,
        "code": "rate_limit_exceeded",
    }


async def test_a_client_who_closes_the_stream_stops_the_generator(gateway, client):
    stage = gateway.backends.generator.stage
    stage.script = [*cited("some")[:3], HOLD]

    async with await client.chat.completions.create(**ASKED) as stream:
        await anext(aiter(stream))

    await asyncio.wait_for(stage.cancelled.wait(), 20)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_who_gives_up_before_the_first_byte_stops_the_generator(gateway, client, stream):
    stage = gateway.backends.generator.stage
    stage.script = [HOLD]
    asking = asyncio.create_task(client.chat.completions.create(**{**ASKED, "stream": stream}))
    await asyncio.wait_for(stage.entered.wait(), 20)
    asking.cancel()
    await asyncio.wait({asking})

    await asyncio.wait_for(stage.cancelled.wait(), 20)


async def test_a_stream_that_must_end_with_the_server_says_so(open_gateway):
    async with open_gateway(drain_grace_ms=500) as gateway:
        client = client_of(gateway)
        gateway.backends.generator.stage.script = [*cited("some")[:3], HOLD]
        stream = await client.chat.completions.create(**ASKED)
        await anext(aiter(stream))
        reading = asyncio.create_task(_rest(stream))
    with pytest.raises(openai.APIError) as caught:
        await reading
    assert caught.value.code == "restarting"
    await client.close()


async def _rest(stream: openai.AsyncStream) -> None:
    async for _ in stream:
        pass


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20), max_size=5))
async def test_any_text_passes_unharmed(texts):
    async def events():
        for event in cited(*texts, 1):
            yield event

    frames = [frame async for frame in chunks(events(), Head("ragmesh\x00", 0, "http://x/"), [], with_usage=True)]
    assert frames.pop() == b"data: [DONE]\n\n"
    assert all(
        frame.startswith(b"data: ") and frame.endswith(b"\n\n") and len(frame.splitlines()) == 2 for frame in frames
    )
    decoded = [json.loads(frame.removeprefix(b"data: ")) for frame in frames]
    said = [one["choices"][0]["delta"].get("content", "") for one in decoded if one["choices"]]
    assert "".join(said) == "".join(texts) + "[1]"
    assert all({"id", "created", "model", "object", "usage"} <= one.keys() for one in decoded)


async def test_an_event_stream_without_its_beginning_is_incomplete():
    async def events():
        for never in ():
            yield never

    with pytest.raises(Internal):
        [frame async for frame in chunks(events(), Head("ragmesh", 0, "http://x/"), [], with_usage=False)]
