"""What every ChatModel promises."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from services.generator.adapters.extractive_chat import ExtractiveChat
from services.generator.adapters.openai_chat import OpenAIChat, client_of
from services.generator.events import FinishReason
from services.generator.writing.chat import ChatModel, Finish
from tests.doubles.fixtures import ModelServer
from tests.generator.making import prompt_of

PROMPT = prompt_of("What colour is the sky?", "The sky is blue by day. It is black at night.", "Grass is green.")


@pytest.fixture(params=["extractive", "openai"])
async def model(request: pytest.FixtureRequest, model_server: ModelServer) -> AsyncIterator[ChatModel]:
    if request.param == "extractive":
        yield ExtractiveChat()
        return
    async with client_of("k", model_server.base_url, 3.0, max_retries=0) as client:
        yield OpenAIChat(client, "double-1", "a-fallback")


async def test_an_answer_is_text_and_then_one_finish(model: ChatModel) -> None:
    *pieces, finish = [piece async for piece in model.stream(PROMPT)]
    assert pieces
    assert all(isinstance(piece, str) and piece for piece in pieces)
    assert isinstance(finish, Finish)
    assert (finish.reason, finish.provider, finish.asked) == (FinishReason.STOP, model.provider, model.model)


async def test_an_answer_cites_its_passage(model: ChatModel) -> None:
    pieces = [piece async for piece in model.stream(PROMPT) if isinstance(piece, str)]
    assert "sky is blue" in "".join(pieces)
    assert "[1]" in "".join(pieces)


async def test_a_stream_may_be_left_at_any_time_and_asked_again(model: ChatModel) -> None:
    for _ in range(2):
        async with aclosing(model.stream(PROMPT)) as stream:
            assert isinstance(await anext(stream), str)
