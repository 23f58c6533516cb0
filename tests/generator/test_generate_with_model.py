"""The generator over real gRPC, with a language model that does what the test says."""

from __future__ import annotations

import grpc
import pytest
from prometheus_client import REGISTRY

from rag.v1 import generator_pb2 as pb
from tests.doubles.fixtures import ModelServer
from tests.generator.making import (
    GRASS,
    SKY,
    FakeRetriever,
    answer,
    ask,
    found,
    kinds,
    reason_of,
    serving_generator,
    text_of,
    until_error,
)


@pytest.mark.parametrize("mode", ["extractive", "openai"])
async def test_nothing_relevant_is_said_and_no_model_is_asked(
    mode: str, request: pytest.FixtureRequest, retriever: FakeRetriever, model_server: ModelServer
) -> None:
    settings = {"openai_base_url": model_server.base_url} if mode == "openai" else {}
    retriever.responses = found()
    async with serving_generator(retriever.address, provider=mode, **settings) as stub:
        events = await answer(stub)
    assert kinds(events) == ["accepted", "progress", "progress", "sources", "token", "usage", "done"]
    assert not events[3].sources.sources
    assert "Nothing relevant" in text_of(events)
    assert events[-1].done.finish_reason == pb.FINISH_REASON_NO_CONTEXT
    assert (events[-2].usage.model, events[-2].usage.cost_usd, events[-2].usage.input_tokens) == ("", 0.0, 0)
    assert model_server.requests() == []


async def test_a_model_answers_with_its_markers_checked(openai, model_server: ModelServer) -> None:
    model_server.script(deltas=["Blue ", "[", "1", "]", ", green [2", ", 7] and", " pink [9]", "."])
    events = await answer(openai)
    text = text_of(events)
    assert text == "Blue [1], green [2] and pink."
    citations = [event.citation for event in events if event.HasField("citation")]
    assert [(c.number, text[c.char_start : c.char_end]) for c in citations] == [(1, "[1]"), (2, "[2]")]
    assert citations[1].quote == "Grass is green in spring."
    usage = events[-2].usage
    assert (usage.provider, usage.model, usage.estimated) == ("openai", "double-1", False)
    assert usage.input_tokens > 0
    assert not usage.HasField("cost_usd")


async def test_the_prompt_holds_question_and_passages_as_data(openai, model_server: ModelServer) -> None:
    await answer(openai, "Which colour?", max_tokens=77, temperature=0.5)
    body = model_server.requests()[0]["body"]
    assert (body["max_tokens"], body["temperature"]) == (77, 0.5)
    user = body["messages"][1]["content"]
    assert user.endswith("Question: Which colour?")
    assert SKY in user
    assert GRASS in user


async def test_the_cost_follows_the_prices(retriever: FakeRetriever, model_server: ModelServer) -> None:
    prices = {"gpt-4o-mini": {"input": 2.0, "output": 10.0}}
    settings = {"openai_base_url": model_server.base_url, "prices": prices}
    async with serving_generator(retriever.address, **settings) as stub:
        usage = (await answer(stub))[-2].usage
    assert usage.cost_usd == pytest.approx((usage.input_tokens * 2 + usage.output_tokens * 10) / 1e6)


async def test_an_answer_cut_at_its_length_ends_with_length(openai, model_server: ModelServer) -> None:
    model_server.script(text="too long", finish_reason="length")
    assert (await answer(openai))[-1].done.finish_reason == pb.FINISH_REASON_LENGTH


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ({"status": 401}, "MODEL_AUTH"),
        ({"status": 429, "retry_after": "9"}, "MODEL_RATE_LIMITED"),
        ({"status": 500}, "MODEL_UNAVAILABLE"),
        ({"reset_after": 0}, "MODEL_UNAVAILABLE"),
        ({"malformed": True}, "MODEL_BAD_ANSWER"),
        ({"end_after": 0}, "MODEL_STREAM_CUT"),
    ],
)
async def test_a_model_that_fails_before_its_first_token_is_replaced(
    openai, model_server: ModelServer, script: dict[str, object], reason: str
) -> None:
    model_server.script(**script)
    events = await answer(openai)
    names = kinds(events)
    notice = events[names.index("notice")].notice
    assert names.index("sources") < names.index("notice") < names.index("token")
    assert notice.code == "FALLBACK_EXTRACTIVE"
    assert reason in notice.message
    assert text_of(events).startswith("The sky is blue by day. [1]")
    assert events[-2].usage.provider == "extractive"
    assert events[-1].done.finish_reason == pb.FINISH_REASON_STOP


async def test_a_model_that_hangs_is_replaced(retriever: FakeRetriever, model_server: ModelServer) -> None:
    model_server.script(hang=True)
    settings = {"openai_base_url": model_server.base_url, "first_token_timeout_ms": 1_000}
    async with serving_generator(retriever.address, **settings) as stub:
        events = await answer(stub)
    assert "MODEL_TIMEOUT" in next(event.notice.message for event in events if event.HasField("notice"))
    assert (await model_server.wait_disconnect())["chunks"] == 0


@pytest.mark.parametrize(
    "script", [{"reset_after": 1}, {"end_after": 1}, {"error_after": 1}, {"malformed": True, "after": 1}]
)
async def test_a_model_that_fails_after_its_first_token_ends_the_answer_with_an_error(
    openai, model_server: ModelServer, script: dict[str, object]
) -> None:
    model_server.script(text="one two three", delay_ms=40, **script)
    events, error = await until_error(ask(openai))
    assert text_of(events) == "one"
    assert "done" not in kinds(events)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert reason_of(error) == "MODEL_STREAM_CUT"


@pytest.mark.parametrize(
    ("script", "outcome", "error"),
    [({}, "stop", None), ({"text": "one two", "reset_after": 1, "delay_ms": 40}, "error", "MODEL_STREAM_CUT")],
)
async def test_questions_are_counted_by_how_they_ended(
    openai, model_server: ModelServer, script: dict[str, object], outcome: str, error: str | None
) -> None:
    def count(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, labels) or 0.0

    ended = count("rag_queries_total", outcome=outcome)
    failed = count("rag_errors_total", type=error or "")
    model_server.script(**script)
    if error:
        await until_error(ask(openai))
        assert count("rag_errors_total", type=error) == failed + 1
    else:
        await answer(openai)
    assert count("rag_queries_total", outcome=outcome) == ended + 1


async def test_markers_that_resolve_to_nothing_are_counted(openai, model_server: ModelServer) -> None:
    before = REGISTRY.get_sample_value("rag_markers_dropped_total") or 0.0
    model_server.script(text="Blue [1][9] or green [7].")
    assert text_of(await answer(openai)) == "Blue [1] or green."
    assert REGISTRY.get_sample_value("rag_markers_dropped_total") == before + 2


async def test_a_client_that_leaves_stops_the_model(openai, model_server: ModelServer) -> None:
    model_server.script(text="one two three", hang_after=1)
    call = ask(openai)
    async for event in call:
        if event.HasField("token"):
            break
    call.cancel()
    seen = await model_server.wait_disconnect()
    assert (seen["chunks"], seen["finished"]) == (1, False)
