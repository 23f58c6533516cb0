"""Equal questions at one time are answered once, for all who asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from redis.asyncio import Redis

from rag.catalogue_state import changes_key
from rag.v1 import generator_pb2 as pb
from tests.doubles.fixtures import ModelServer
from tests.generator.making import FakeRetriever, answer, ask, kinds, serving_generator, text_of
from tests.waiting import until

_WORDS = " ".join(f"word{number}" for number in range(40)) + ". [1]"


@pytest.fixture
async def stub(retriever: FakeRetriever, model_server: ModelServer, redis_url: str) -> AsyncIterator:
    await retriever.believe(redis_url)
    settings = {"openai_base_url": model_server.base_url, "redis_url": redis_url, "cache_ttl_s": 0}
    async with serving_generator(retriever.address, **settings) as stub:
        yield stub


def layers(answers: list[list[pb.GenerateResponse]]) -> list[str]:
    return sorted(pb.CacheLayer.Name(events[-2].usage.cache_layer) for events in answers)


async def test_the_model_is_asked_once_and_everybody_hears_all_of_it(stub, model_server: ModelServer) -> None:
    model_server.script(text=_WORDS, first_delay_ms=300, delay_ms=5, times=None)
    answers = await asyncio.gather(*(answer(stub, "What is it?", use_cache=True) for _ in range(5)))
    assert len(model_server.requests()) == 1
    assert {text_of(events) for events in answers} == {_WORDS}
    assert all(kinds(events)[-2:] == ["usage", "done"] for events in answers)
    assert [event.sequence for event in answers[-1]] == list(range(1, len(answers[-1]) + 1))
    assert len({events[0].accepted.answer_id for events in answers}) == 5


async def test_one_of_those_who_share_is_charged(stub, model_server: ModelServer) -> None:
    model_server.script(text=_WORDS, first_delay_ms=300, times=None)
    answers = await asyncio.gather(*(answer(stub, "What is it?", use_cache=True) for _ in range(3)))
    assert layers(answers) == ["CACHE_LAYER_NONE", "CACHE_LAYER_SHARED", "CACHE_LAYER_SHARED"]
    charged = [events[-2].usage for events in answers if events[-2].usage.output_tokens]
    assert len(charged) == 1
    assert not charged[0].from_cache
    assert all(usage.cost_usd == 0 and usage.from_cache for usage in shared_usages(answers))


def shared_usages(answers: list[list[pb.GenerateResponse]]) -> list[pb.Usage]:
    return [events[-2].usage for events in answers if events[-2].usage.cache_layer == pb.CACHE_LAYER_SHARED]


async def test_who_comes_in_the_middle_hears_it_from_the_start(stub, model_server: ModelServer) -> None:
    model_server.script(text=_WORDS, delay_ms=20, times=None)
    first = asyncio.create_task(answer(stub, "What is it?", use_cache=True))
    await model_server.wait_chunks(10)
    second = await answer(stub, "What is it?", use_cache=True)
    assert text_of(second) == text_of(await first) == _WORDS
    assert len(model_server.requests()) == 1
    assert all(event.progress.elapsed_ms >= 0 for event in second)


async def test_it_goes_on_for_the_others_and_ends_with_the_last(stub, model_server: ModelServer) -> None:
    model_server.script(text="word " * 4_000, delay_ms=20, times=None)
    calls = [ask(stub, "What is it?", use_cache=True) for _ in range(3)]
    for call in calls:
        while (await call.read()).WhichOneof("event") != "token":
            pass
    first, second, third = calls
    first.cancel()
    second.cancel()
    seen = len(text_of([await third.read()]))
    assert seen
    assert not model_server.requests()[0]["disconnected"]
    third.cancel()
    await model_server.wait_disconnect()
    assert len(model_server.requests()) == 1


async def test_other_questions_parameters_and_states_share_nothing(
    stub, redis: Redis, model_server: ModelServer
) -> None:
    model_server.script(text=_WORDS, first_delay_ms=300, times=None)
    asked = [
        {"question": "What is it?"},
        {"question": "What was it?"},
        {"max_tokens": 7, "question": "What is it?"},
        {"use_cache": False, "question": "What is it?"},
        {"use_cache": False, "question": "What is it?"},
    ]
    running = [asyncio.create_task(answer(stub, **{"use_cache": True, **fields})) for fields in asked]
    await model_server.wait_received(len(asked) - 1)
    await redis.incr(
        changes_key("acme")
    )  # a document was committed: who asks now must not get what was searched before
    late = await answer(stub, "What is it?", use_cache=True)
    answers = [*await asyncio.gather(*running), late]
    assert layers(answers) == ["CACHE_LAYER_NONE"] * len(answers)
    assert len(model_server.requests()) == len(answers)


async def test_an_error_is_everybodys_and_ends_nobody_with_done(stub, model_server: ModelServer) -> None:
    model_server.script(text=_WORDS, delay_ms=30, reset_after=10, times=None)

    async def outcome() -> tuple[list[str], str]:
        seen = []
        try:
            async for event in ask(stub, "What is it?", use_cache=True):
                seen.append(event.WhichOneof("event"))
        except grpc.aio.AioRpcError as error:
            return seen, error.code().name
        return seen, "OK"

    outcomes = await asyncio.gather(*(outcome() for _ in range(3)))
    assert {code for _, code in outcomes} == {"UNAVAILABLE"}
    assert all("token" in seen and "done" not in seen and "usage" not in seen for seen, _ in outcomes)
    assert len(model_server.requests()) == 1


async def test_a_slow_reader_does_not_hold_up_the_others(stub, model_server: ModelServer) -> None:
    model_server.script(flood=8_000, times=None)
    slow = aiter(ask(stub, "What is it?", use_cache=True, max_tokens=8_192))
    while (await anext(slow)).WhichOneof("event") != "token":
        pass
    quick = await answer(stub, "What is it?", use_cache=True, max_tokens=8_192)
    assert kinds(quick)[-1] == "done"
    rest = [event async for event in slow]
    assert kinds(rest)[-1] == "done"


async def test_nothing_is_left_of_a_shared_answer(stub, model_server: ModelServer) -> None:
    model_server.script(text=_WORDS, times=None)
    await answer(stub, "What was it?", use_cache=True)  # opens what stays open
    before = len(asyncio.all_tasks())
    await asyncio.gather(*(answer(stub, "What is it?", use_cache=True) for _ in range(5)))
    await until(lambda: len(asyncio.all_tasks()) <= before)
