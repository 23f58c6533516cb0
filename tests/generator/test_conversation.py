"""Questions that follow others, over real gRPC."""

from __future__ import annotations

import pytest

from rag.local_model import tokenizer_path
from rag.runtime.errors import FailedPrecondition
from rag.v1 import generator_pb2 as pb
from tests.doubles.fixtures import ModelServer
from tests.generator.making import FakeRetriever, answer, found, serving_generator, text_of

HISTORY = [
    pb.Turn(role=pb.ROLE_USER, text="What colour is the sky?"),
    pb.Turn(role=pb.ROLE_ASSISTANT, text="It is blue by day [2]."),
]


def stages(events: list[pb.GenerateResponse]) -> list[int]:
    return [event.progress.stage for event in events if event.HasField("progress")]


def notices(events: list[pb.GenerateResponse]) -> list[str]:
    return [event.notice.code for event in events if event.HasField("notice")]


async def test_a_follow_up_is_searched_for_as_rewritten_and_asked_as_it_is(
    openai, retriever: FakeRetriever, model_server: ModelServer
) -> None:
    model_server.script(text="What colour is the sky at night?")
    events = await answer(openai, "And at night?", history=HISTORY)

    rewriting, answering = (request["body"] for request in model_server.requests())
    assert pb.STAGE_REWRITING in stages(events)
    assert (rewriting["temperature"], rewriting["max_tokens"]) == (0, 128)
    assert [message["role"] for message in rewriting["messages"]] == ["system", "user"]
    assert [request.query for request in retriever.requests] == ["What colour is the sky at night?"]
    _, before, said, asked = answering["messages"]
    assert (before["role"], before["content"]) == ("user", "What colour is the sky?")
    assert (said["role"], said["content"]) == ("assistant", "It is blue by day.")
    assert asked["content"].endswith("Question: And at night?")
    assert "colour is the sky at night" not in asked["content"]
    assert not notices(events)


async def test_the_tokens_of_the_rewriting_are_counted(openai, model_server: ModelServer) -> None:
    model_server.script(text="one two three", usage=True)
    model_server.script(text="four five [1]")
    usage = (await answer(openai, "And at night?", history=HISTORY))[-2].usage
    asked = [len(str(request["body"]["messages"]).split()) for request in model_server.requests()]
    assert usage.output_tokens == 3 + 3
    assert usage.input_tokens > max(asked)


async def test_a_model_that_cannot_rewrite_is_told_and_the_questions_are_joined(
    openai, retriever: FakeRetriever, model_server: ModelServer
) -> None:
    model_server.script(status=500)
    events = await answer(openai, "And at night?", history=HISTORY)

    assert [request.query for request in retriever.requests] == ["What colour is the sky? And at night?"]
    assert notices(events) == ["REWRITE_SKIPPED"]
    assert "[1]" in text_of(events)


async def test_a_model_that_hangs_while_it_rewrites_is_left(
    retriever: FakeRetriever, model_server: ModelServer
) -> None:
    model_server.script(hang=True)
    settings = {"openai_base_url": model_server.base_url, "standalone_timeout_ms": 1_000}
    async with serving_generator(retriever.address, **settings) as stub:
        events = await answer(stub, "And at night?", history=HISTORY)
    await model_server.wait_disconnect(0)
    assert notices(events) == ["REWRITE_SKIPPED"]
    assert events[-1].done.finish_reason == pb.FINISH_REASON_STOP


async def test_without_a_model_the_questions_are_joined(extractive, retriever: FakeRetriever) -> None:
    events = await answer(extractive, "And at night?", history=HISTORY)
    assert [request.query for request in retriever.requests] == ["What colour is the sky? And at night?"]
    assert not notices(events)


@pytest.mark.parametrize("name", ["answer.txt", "standalone.txt"])
async def test_a_users_template_reaches_the_model(
    retriever: FakeRetriever, model_server: ModelServer, tmp_path, name: str
) -> None:
    (tmp_path / name).write_text("Mind $boundary, in the words of this house.")
    async with serving_generator(retriever.address, openai_base_url=model_server.base_url, templates=tmp_path) as stub:
        await answer(stub, "And at night?", history=HISTORY)
    systems = [request["body"]["messages"][0]["content"] for request in model_server.requests()]
    assert [" in the words of this house." in system for system in systems] == [
        name == "standalone.txt",
        name == "answer.txt",
    ]


@pytest.mark.parametrize(
    ("setting", "reason"), [("templates", "TEMPLATES_MISSING"), ("tokenizer", "TOKENIZER_MISSING")]
)
async def test_the_generator_does_not_start_on_a_wrong_path(
    retriever: FakeRetriever, tmp_path, setting, reason
) -> None:
    with pytest.raises(FailedPrecondition, match="nowhere") as caught:
        async with serving_generator(retriever.address, **{setting: tmp_path / "nowhere"}):
            pass
    assert caught.value.reason == reason


async def test_the_passages_are_counted_by_the_tokenizer_at_hand(retriever: FakeRetriever) -> None:
    retriever.responses = found(*["A sentence of seven words stands here. " * 20] * 8)
    given = []
    for settings in ({}, {"tokenizer": tokenizer_path()}):
        async with serving_generator(
            retriever.address, provider="extractive", passage_budget_tokens=900, **settings
        ) as stub:
            events = await answer(stub, "What stands here?")
        given += [len(event.sources.sources) for event in events if event.HasField("sources")]
    assert given == [1, 4]
