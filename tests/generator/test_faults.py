"""What a language model can do wrong, seen at the generator's front door: real gRPC, a real HTTP server that misbehaves."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from rag.runtime.mesh import TENANT
from rag.v1 import generator_pb2 as pb
from tests.doubles.fixtures import ModelServer
from tests.generator.making import FakeRetriever, kinds, reason_of, serving_generator, text_of, until_error

KEY = "sk-secret-of-the-fallback"
NOWHERE = "http://127.0.0.1:1/v1"
DEADLINE_S = 30.0
SOON_MS = 2_000
"""When a model that hangs is given up: late enough that one that does not hang answers before it on a busy machine."""

BEFORE = {
    "refuses": (None, "MODEL_UNAVAILABLE"),
    "hangs": ({"hang": True}, "MODEL_TIMEOUT"),
    "stalls before its first token": ({"hang_after": 0}, "MODEL_TIMEOUT"),
    "resets": ({"reset_after": 0}, "MODEL_UNAVAILABLE"),
    "429 with Retry-After": ({"status": 429, "retry_after": "7"}, "MODEL_RATE_LIMITED"),
    "429": ({"status": 429}, "MODEL_RATE_LIMITED"),
    "401": ({"status": 401}, "MODEL_AUTH"),
    "500": ({"status": 500}, "MODEL_UNAVAILABLE"),
    "503": ({"status": 503}, "MODEL_UNAVAILABLE"),
    "malformed JSON": ({"malformed": True}, "MODEL_BAD_ANSWER"),
    "an error event": ({"error_after": 0}, "MODEL_UNAVAILABLE"),
    "ends without a word": ({"end_after": 0}, "MODEL_STREAM_CUT"),
    "held back": ({"finish_reason": "content_filter", "deltas": [""]}, "MODEL_FILTERED"),
    "empty": ({"deltas": [""]}, "MODEL_EMPTY_ANSWER"),
}
AFTER = {
    "cut": ({"reset_after": 2}, "MODEL_STREAM_CUT", grpc.StatusCode.UNAVAILABLE),
    "ends": ({"end_after": 2}, "MODEL_STREAM_CUT", grpc.StatusCode.UNAVAILABLE),
    "ends without a finish reason": ({"finish_reason": None}, "MODEL_STREAM_CUT", grpc.StatusCode.UNAVAILABLE),
    "malformed JSON": ({"malformed": True, "after": 2}, "MODEL_STREAM_CUT", grpc.StatusCode.UNAVAILABLE),
    "an error event": ({"error_after": 2}, "MODEL_STREAM_CUT", grpc.StatusCode.UNAVAILABLE),
    "stalls after three tokens": ({"hang_after": 3}, "MODEL_TIMEOUT", grpc.StatusCode.DEADLINE_EXCEEDED),
}


def base_url(server: ModelServer, provider: str) -> str:
    return f"http://127.0.0.1:{server.port}/{provider}/v1"


def script(server: ModelServer, provider: str, **behaviour: object) -> None:
    server.script(path=f"/{provider}/v1/chat/completions", **behaviour)


def asked(server: ModelServer) -> list[str]:
    """The providers that were asked, in order."""
    return [request["path"].split("/")[1] for request in server.requests()]


@asynccontextmanager
async def generator(
    retriever: FakeRetriever, server: ModelServer, *, fallback: bool, first: str | None = None, **settings: object
) -> AsyncIterator[object]:
    fallbacks = [{"name": "second", "base_url": base_url(server, "second"), "api_key": KEY, "model": "model-2"}]
    chosen: dict[str, object] = {
        "openai_base_url": first or base_url(server, "first"),
        "model": "model-1",
        "fallbacks": json.dumps(fallbacks if fallback else []),
        "prices": json.dumps({"model-2": {"input": 2, "output": 10}}),
        "first_token_timeout_ms": 20_000,
        "next_token_timeout_ms": 20_000,
        "max_retries": 0,
    }
    async with serving_generator(retriever.address, **{**chosen, **settings}) as stub:
        yield stub


def patience(behaviour: dict[str, object] | None) -> dict[str, object]:
    """Settings for a fault: soon out of patience with a model that hangs."""
    hangs = behaviour is not None and {"hang", "hang_after"} & set(behaviour)
    return {"first_token_timeout_ms": SOON_MS, "next_token_timeout_ms": SOON_MS} if hangs else {}


def ask(stub, timeout_s: float = DEADLINE_S) -> grpc.aio.UnaryStreamCall:
    request = pb.GenerateRequest(question="What colour is the sky?", use_cache=False)
    return stub.Generate(request, metadata=((TENANT, "acme"),), timeout=timeout_s)


async def answer(stub, timeout_s: float = DEADLINE_S) -> list[pb.GenerateResponse]:
    return [event async for event in ask(stub, timeout_s)]


def notices(events: list[pb.GenerateResponse]) -> list[tuple[str, str]]:
    """Code and reason of each."""
    found = [event.notice for event in events if event.HasField("notice")]
    return [(notice.code, notice.message.rstrip(".").split()[-1]) for notice in found]


def check_order(events: list[pb.GenerateResponse]) -> None:
    names = kinds(events)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert names.index("sources") < names.index("notice") < names.index("token")
    assert names[-2:] == ["usage", "done"]


@pytest.mark.parametrize("fault", BEFORE)
async def test_before_the_first_token_another_model_takes_over(
    retriever: FakeRetriever, model_server: ModelServer, fault: str
) -> None:
    behaviour, reason = BEFORE[fault]
    if behaviour is not None:
        script(model_server, "first", **behaviour)
    script(model_server, "second", text="Blue, says the second [1].")
    first = NOWHERE if behaviour is None else None
    async with generator(retriever, model_server, fallback=True, first=first, **patience(behaviour)) as stub:
        events = await answer(stub)
    check_order(events)
    assert notices(events) == [("FALLBACK_MODEL", reason)]
    assert text_of(events) == "Blue, says the second [1]."
    usage = events[-2].usage
    assert (usage.provider, usage.model, usage.fallback_used) == ("second", "double-1", True)
    assert usage.cost_usd == pytest.approx((usage.input_tokens * 2 + usage.output_tokens * 10) / 1e6)
    assert events[-1].done.finish_reason == pb.FINISH_REASON_STOP
    request = model_server.requests()[-1]
    assert (request["body"]["model"], request["headers"]["authorization"]) == ("model-2", f"Bearer {KEY}")


@pytest.mark.parametrize("fault", BEFORE)
async def test_before_the_first_token_extraction_is_the_last_resort(
    retriever: FakeRetriever, model_server: ModelServer, fault: str
) -> None:
    behaviour, reason = BEFORE[fault]
    if behaviour is not None:
        script(model_server, "first", **behaviour)
    first = NOWHERE if behaviour is None else None
    async with generator(retriever, model_server, fallback=False, first=first, **patience(behaviour)) as stub:
        events = await answer(stub)
    check_order(events)
    assert notices(events) == [("FALLBACK_EXTRACTIVE", reason)]
    assert "The sky is blue by day. [1]" in text_of(events)
    usage = events[-2].usage
    assert (usage.provider, usage.model, usage.fallback_used) == ("extractive", "extractive", True)
    assert (usage.cost_usd, usage.input_tokens, usage.output_tokens) == (0.0, 0, 0)
    assert len(model_server.requests()) == (0 if behaviour is None else 1)


@pytest.mark.parametrize("fallback", [True, False])
@pytest.mark.parametrize("fault", AFTER)
async def test_after_the_first_token_the_answer_ends_with_an_error_and_never_looks_complete(
    retriever: FakeRetriever, model_server: ModelServer, fault: str, fallback: bool
) -> None:
    behaviour, reason, code = AFTER[fault]
    script(model_server, "first", text="one two three four", delay_ms=40, **behaviour)
    async with generator(retriever, model_server, fallback=fallback, **patience(behaviour)) as stub:
        events, error = await until_error(ask(stub))
    assert text_of(events).startswith("one two")
    assert not {"usage", "done", "notice"} & set(kinds(events))
    assert (error.code(), reason_of(error)) == (code, reason)
    assert asked(model_server) == ["first"]


async def test_without_a_fault_nothing_is_said_of_one(retriever: FakeRetriever, model_server: ModelServer) -> None:
    async with generator(retriever, model_server, fallback=True) as stub:
        events = await answer(stub)
    assert notices(events) == []
    usage = events[-2].usage
    assert (usage.provider, usage.fallback_used, usage.HasField("cost_usd")) == ("openai", False, False)
    assert asked(model_server) == ["first"]


async def test_when_all_models_fail_each_is_named(retriever: FakeRetriever, model_server: ModelServer) -> None:
    script(model_server, "first", status=500)
    script(model_server, "second", hang=True)
    async with generator(retriever, model_server, fallback=True, first_token_timeout_ms=SOON_MS) as stub:
        events = await answer(stub)
    assert notices(events) == [("FALLBACK_MODEL", "MODEL_UNAVAILABLE"), ("FALLBACK_EXTRACTIVE", "MODEL_TIMEOUT")]
    assert (events[-2].usage.provider, events[-2].usage.fallback_used) == ("extractive", True)


async def test_a_model_that_keeps_failing_is_left_alone(retriever: FakeRetriever, model_server: ModelServer) -> None:
    script(model_server, "first", status=500, times=None)
    async with generator(retriever, model_server, fallback=True, breaker_failures=2) as stub:
        answers = [await answer(stub) for _ in range(4)]
    reasons = [notices(events)[0][1] for events in answers]
    assert reasons == ["MODEL_UNAVAILABLE"] * 2 + ["PROVIDER_PAUSED"] * 2
    assert asked(model_server) == ["first", "second"] * 2 + ["second"] * 2


async def test_a_model_that_is_well_again_is_found_out(retriever: FakeRetriever, model_server: ModelServer) -> None:
    script(model_server, "first", status=500)
    async with generator(retriever, model_server, fallback=True, breaker_failures=1, breaker_pause_s=0.001) as stub:
        assert notices(await answer(stub))
        assert not notices(await answer(stub))


async def test_a_model_that_hangs_leaves_time_for_the_next_within_the_deadline(
    retriever: FakeRetriever, model_server: ModelServer
) -> None:
    script(model_server, "first", hang=True)
    async with generator(retriever, model_server, fallback=True, first_token_timeout_ms=60_000) as stub:
        events = await answer(stub, timeout_s=5.0)
    assert notices(events) == [("FALLBACK_MODEL", "MODEL_TIMEOUT")]
    assert events[-1].HasField("done")


async def test_a_limit_that_passes_soon_is_waited_for(retriever: FakeRetriever, model_server: ModelServer) -> None:
    script(model_server, "first", status=429, retry_after="0.05")
    settings = {"max_retries": 1}
    async with generator(retriever, model_server, fallback=True, **settings) as stub:
        assert not notices(await answer(stub))
    assert asked(model_server) == ["first", "first"]


async def test_a_key_is_in_no_log(
    retriever: FakeRetriever, model_server: ModelServer, capfd: pytest.CaptureFixture[str]
) -> None:
    script(model_server, "first", status=500)
    script(model_server, "second", status=401)
    async with generator(retriever, model_server, fallback=True) as stub:
        await answer(stub)
    written = "".join(capfd.readouterr())
    assert "model_replaced" in written
    assert KEY not in written
    assert base_url(model_server, "second") not in written
