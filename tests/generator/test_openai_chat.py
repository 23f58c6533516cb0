from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import pytest

from rag.runtime.errors import DeadlineExceeded, FailedPrecondition, Overloaded, RagError, Unavailable
from services.generator.adapters.openai_chat import OpenAIChat, client_of
from services.generator.adapters.openai_errors import retry_after_s
from services.generator.events import FinishReason
from services.generator.prompting.tokens import tokens_at_most
from services.generator.question import Role, Turn
from services.generator.writing.chat import Finish
from tests.doubles.fixtures import ModelServer
from tests.generator.making import prompt_of

PROMPT = prompt_of("What colour is the sky?", "The sky is blue.\nIt is high.")


@pytest.fixture
async def chat(model_server: ModelServer) -> AsyncIterator[OpenAIChat]:
    async with client_of("sk-test", model_server.base_url, 3.0, max_retries=0) as client:
        yield OpenAIChat(client, "double-1", "openai")


async def collect(chat: OpenAIChat) -> tuple[list[str], Finish | RagError]:
    """Everything up to the Finish, or up to the error."""
    pieces: list[str] = []
    try:
        async with aclosing(chat.stream(PROMPT)) as stream:
            async for piece in stream:
                if isinstance(piece, Finish):
                    return pieces, piece
                pieces.append(piece)
    except RagError as error:
        return pieces, error
    raise AssertionError("the stream ended without a Finish")


async def test_text_streams_with_the_tokens_that_the_server_reports(
    chat: OpenAIChat, model_server: ModelServer
) -> None:
    pieces, finish = await collect(chat)
    assert "".join(pieces) == "The sky is blue. [1]"
    words = 5
    assert isinstance(finish, Finish)
    assert (finish.reason, finish.provider, finish.model) == (FinishReason.STOP, "openai", "double-1")
    assert (finish.output_tokens, finish.estimated) == (words, False)
    assert finish.input_tokens > 0
    (request,) = model_server.requests()
    body = request["body"]
    assert request["headers"]["authorization"] == "Bearer sk-test"
    assert (body["model"], body["max_tokens"], body["temperature"], body["stream"]) == ("double-1", 100, 0.2, True)
    assert body["stream_options"] == {"include_usage": True}
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert body["messages"][1]["content"] == PROMPT.user
    assert not request["disconnected"]


async def test_tokens_that_are_not_reported_are_an_upper_bound(chat: OpenAIChat, model_server: ModelServer) -> None:
    model_server.script(deltas=["Blau, ", "größer"], usage=False)
    pieces, finish = await collect(chat)
    assert isinstance(finish, Finish)
    assert finish.estimated
    assert finish.output_tokens == tokens_at_most("".join(pieces))
    assert finish.input_tokens == PROMPT.tokens_at_most()


async def test_tokens_that_the_server_had_cached_are_told(chat: OpenAIChat, model_server: ModelServer) -> None:
    model_server.script(cached_tokens=3)
    finish = (await collect(chat))[1]
    assert isinstance(finish, Finish)
    assert (finish.cached_input_tokens, finish.estimated) == (3, False)
    assert finish.input_tokens > 3


async def test_an_answer_far_longer_than_asked_is_cut(chat: OpenAIChat, model_server: ModelServer) -> None:
    model_server.script(deltas=["x" * 1_000] * 50, delay_ms=1)
    pieces, finish = await collect(chat)
    assert len("".join(pieces)) == PROMPT.max_tokens * 32 + 1_000
    assert isinstance(finish, Finish)
    assert (finish.reason, finish.estimated) == (FinishReason.LENGTH, True)
    assert (await model_server.wait_disconnect())["disconnected"]


@pytest.mark.parametrize("script", [{"reset_at_end": True}, {"hang_at_end": True}])
async def test_an_answer_that_is_whole_survives_what_comes_after_it(
    chat: OpenAIChat, model_server: ModelServer, script: dict[str, object]
) -> None:
    model_server.script(text="one two", delay_ms=40, **script)
    pieces, finish = await collect(chat)
    assert "".join(pieces) == "one two"
    assert isinstance(finish, Finish)
    assert (finish.reason, finish.estimated) == (FinishReason.STOP, True)


async def test_the_conversation_stands_between_the_system_and_the_question(
    chat: OpenAIChat, model_server: ModelServer
) -> None:
    turns = (Turn(Role.USER, "Hello?"), Turn(Role.ASSISTANT, "Hello."))
    async with aclosing(chat.stream(replace(PROMPT, history=turns))) as stream:
        assert [piece async for piece in stream]
    messages = model_server.requests()[0]["body"]["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert [message["content"] for message in messages[1:3]] == ["Hello?", "Hello."]


async def test_a_connection_serves_the_next_question_too(chat: OpenAIChat, model_server: ModelServer) -> None:
    for _ in range(3):
        await collect(chat)
    assert len({request["connection"] for request in model_server.requests()}) == 1


async def test_an_answer_cut_at_its_length_says_so(chat: OpenAIChat, model_server: ModelServer) -> None:
    model_server.script(text="too long", finish_reason="length")
    finish = (await collect(chat))[1]
    assert isinstance(finish, Finish)
    assert finish.reason is FinishReason.LENGTH


async def test_a_character_sent_in_two_halves_arrives_whole(chat: OpenAIChat, model_server: ModelServer) -> None:
    model_server.script(deltas=["a", "\ud83d", "\ude42 b", "\ud83d c", "é"])
    assert "".join((await collect(chat))[0]) == "a🙂 b\ufffd cé"


@pytest.mark.parametrize(
    ("script", "kind", "reason"),
    [
        ({"status": 401}, FailedPrecondition, "MODEL_AUTH"),
        ({"status": 403}, FailedPrecondition, "MODEL_AUTH"),
        ({"status": 404}, FailedPrecondition, "MODEL_NOT_FOUND"),
        ({"status": 400}, FailedPrecondition, "MODEL_REFUSED"),
        ({"status": 429, "retry_after": "7"}, Overloaded, "MODEL_RATE_LIMITED"),
        ({"status": 429}, Overloaded, "MODEL_RATE_LIMITED"),
        ({"status": 500}, Unavailable, "MODEL_UNAVAILABLE"),
        ({"status": 503}, Unavailable, "MODEL_UNAVAILABLE"),
        ({"reset_after": 0}, Unavailable, "MODEL_UNAVAILABLE"),
        ({"error_after": 0}, Unavailable, "MODEL_UNAVAILABLE"),
        ({"malformed": True}, Unavailable, "MODEL_BAD_ANSWER"),
        ({"end_after": 0}, Unavailable, "MODEL_STREAM_CUT"),
        ({"deltas": [""]}, Unavailable, "MODEL_EMPTY_ANSWER"),
        ({"finish_reason": "content_filter"}, Unavailable, "MODEL_FILTERED"),
    ],
)
async def test_a_failure_has_its_own_reason(
    chat: OpenAIChat, model_server: ModelServer, script: dict[str, object], kind: type[RagError], reason: str
) -> None:
    model_server.script(**script)
    error = (await collect(chat))[1]
    assert isinstance(error, kind)
    assert error.reason == reason
    assert "scripted" not in error.message
    assert error.__cause__ is not None or reason in {"MODEL_STREAM_CUT", "MODEL_EMPTY_ANSWER", "MODEL_FILTERED"}


@pytest.mark.parametrize(
    "script",
    [
        {"reset_after": 2},
        {"error_after": 2},
        {"end_after": 2},
        {"malformed": True, "after": 2},
        {"finish_reason": None},
    ],
)
async def test_a_stream_cut_after_its_first_token_is_a_failure(
    chat: OpenAIChat, model_server: ModelServer, script: dict[str, object]
) -> None:
    model_server.script(text="one two three four", delay_ms=40, **script)
    pieces, error = await collect(chat)
    assert "".join(pieces).startswith("one two")
    assert isinstance(error, Unavailable)
    assert error.reason == "MODEL_STREAM_CUT"


@pytest.mark.parametrize(
    ("script", "text"), [({"hang": True}, ""), ({"hang_after": 0}, ""), ({"hang_after": 1}, "The")]
)
async def test_a_timeout_of_the_client_is_one(model_server: ModelServer, script: dict[str, object], text: str) -> None:
    model_server.script(**script)
    async with client_of("", model_server.base_url, 3.0, max_retries=0) as client:
        pieces, error = await collect(OpenAIChat(client.with_options(timeout=1.0), "double-1", "openai"))
    assert "".join(pieces) == text
    assert isinstance(error, DeadlineExceeded)
    assert error.reason == "MODEL_TIMEOUT"
    assert (await model_server.wait_disconnect())["disconnected"]


async def test_the_retry_after_of_the_server_is_passed_on(chat: OpenAIChat, model_server: ModelServer) -> None:
    model_server.script(status=429, retry_after="7")
    error = (await collect(chat))[1]
    assert isinstance(error, Overloaded)
    assert error.retry_after_s == 7.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, 5.0), ("2", 2.0), ("0.5", 0.5), ("-3", 5.0), ("1e9", 3_600.0), ("nan", 5.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)  # fmt: skip
def test_retry_after_is_read_with_care(header: str | None, seconds: float) -> None:
    assert retry_after_s(header) == seconds


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with client_of("k", "http://127.0.0.1:1/v1", 3.0, max_retries=0) as client:
        error = (await collect(OpenAIChat(client, "m", "openai")))[1]
    assert isinstance(error, Unavailable)
    assert error.reason == "MODEL_UNAVAILABLE"


async def test_a_failure_before_the_first_token_is_tried_again(model_server: ModelServer) -> None:
    model_server.script(status=429, retry_after="0")
    async with client_of("k", model_server.base_url, 3.0, max_retries=1) as client:
        pieces, finish = await collect(OpenAIChat(client, "m", "openai"))
    assert "".join(pieces) == "The sky is blue. [1]"
    assert isinstance(finish, Finish)
    assert len(model_server.requests()) == 2


async def test_a_server_that_asks_for_a_long_wait_is_not_waited_for(model_server: ModelServer) -> None:
    model_server.script(status=429, retry_after="60", times=None)
    async with client_of("k", model_server.base_url, 3.0, max_retries=3) as client:
        error = (await collect(OpenAIChat(client, "m", "openai")))[1]
    assert isinstance(error, Overloaded)
    assert error.retry_after_s == 60.0
    assert len(model_server.requests()) == 1


async def test_nothing_is_tried_again_after_the_first_token(model_server: ModelServer) -> None:
    model_server.script(text="one two", reset_after=1, delay_ms=40)
    async with client_of("k", model_server.base_url, 3.0, max_retries=3) as client:
        error = (await collect(OpenAIChat(client, "m", "openai")))[1]
    assert isinstance(error, Unavailable)
    assert len(model_server.requests()) == 1


async def test_leaving_the_stream_closes_the_http_stream(chat: OpenAIChat, model_server: ModelServer) -> None:
    model_server.script(text="one two three", hang_after=2)
    async with aclosing(chat.stream(PROMPT)) as stream:
        assert (await anext(stream)).startswith("one")
    seen = await model_server.wait_disconnect()
    assert seen["chunks"] <= 2


async def test_a_cancel_while_waiting_closes_the_http_request(chat: OpenAIChat, model_server: ModelServer) -> None:
    model_server.script(hang=True)
    task = asyncio.create_task(collect(chat))
    await model_server.wait_received()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await model_server.wait_disconnect())["chunks"] == 0


@pytest.mark.parametrize("status", [400, 401, 422, 500])
async def test_a_server_that_repeats_key_and_prompt_is_not_repeated(
    chat: OpenAIChat, model_server: ModelServer, status: int
) -> None:
    """What is behind an error is logged."""
    model_server.script(status=status, echo=True, error_code="bad_thing")
    _, error = await collect(chat)
    assert isinstance(error, RagError)
    told = f"{error!r} {error.__cause__!r} {error.__cause__.__cause__!r}"
    assert f"{status}, 'bad_thing'" in told
    assert "sk-test" not in told
    assert "sky" not in told
