"""The generator over real gRPC, with a retriever that says what the test says."""

from __future__ import annotations

import math
from contextlib import AsyncExitStack

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from rag.runtime.errors import Unavailable
from rag.v1 import generator_pb2 as pb
from rag.v1 import passage_pb2, retriever_pb2
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
    serving_retriever,
    text_of,
    until_error,
)


async def test_the_events_come_in_order_with_a_sequence_without_gaps(extractive) -> None:
    events = await answer(extractive)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    names = kinds(events)
    assert names[:5] == ["accepted", "progress", "progress", "sources", "progress"]
    assert names[-2:] == ["usage", "done"]
    assert set(names[5:-2]) == {"token", "citation"}
    assert names[5:7] == ["token", "citation"]
    assert events[0].accepted.request_id == "req-1"
    assert events[0].accepted.answer_id.startswith("ans_")
    stages = [event.progress.stage for event in events if event.WhichOneof("event") == "progress"]
    assert stages == [pb.STAGE_EMBEDDING, pb.STAGE_RETRIEVAL, pb.STAGE_EXTRACTION]


async def test_without_a_model_sentences_of_the_passages_answer(extractive) -> None:
    events = await answer(extractive)
    text = text_of(events)
    assert text.startswith("The sky is blue by day. [1]")
    citation = next(event.citation for event in events if event.HasField("citation"))
    assert text[citation.char_start : citation.char_end] == "[1]"
    assert (citation.number, citation.passage_id, citation.page) == (1, "p1", 1)
    assert citation.quote == "The sky is blue by day."
    assert (citation.quote_start, citation.quote_end) == (130, 153)
    usage = events[-2].usage
    assert (usage.provider, usage.model, usage.input_tokens, usage.output_tokens) == ("extractive", "extractive", 0, 0)
    assert (usage.cost_usd, usage.cache_layer, usage.estimated) == (0.0, pb.CACHE_LAYER_NONE, False)
    assert [s.stage for s in usage.stages] == [pb.STAGE_EMBEDDING, pb.STAGE_RETRIEVAL, pb.STAGE_EXTRACTION]
    assert 0 < usage.first_token_ms <= usage.total_ms
    assert events[-1].done.finish_reason == pb.FINISH_REASON_STOP


async def test_the_sources_are_the_passages_given_to_the_model(extractive) -> None:
    events = await answer(extractive)
    sources = next(event.sources.sources for event in events if event.HasField("sources"))
    assert [(s.number, s.passage.id, s.title, s.passage.text) for s in sources] == [
        (1, "p1", "Title 1", SKY),
        (2, "p2", "Title 2", GRASS),
    ]
    assert (sources[1].passage.version, sources[1].passage.char_start, sources[1].score) == (3, 200, 0.5)
    assert (sources[1].dense_score, sources[1].HasField("keyword_score")) == (pytest.approx(0.9), False)


async def test_the_parameters_of_the_search_are_passed_on(extractive, retriever: FakeRetriever) -> None:
    narrow = passage_pb2.Filter(document_ids=["d1"], conditions=[passage_pb2.Condition(key="year")])
    await answer(extractive, "Why?", top_k=3, mode=retriever_pb2.RETRIEVAL_MODE_DENSE, min_score=0.5, filter=narrow)
    await answer(extractive, "Why?", mode=retriever_pb2.RETRIEVAL_MODE_KEYWORD)
    await answer(extractive, "Why?")
    first, second, third = retriever.requests
    assert first == retriever_pb2.RetrieveRequest(
        query="Why?", top_k=3, mode=retriever_pb2.RETRIEVAL_MODE_DENSE, min_score=0.5, filter=narrow
    )
    assert not second.HasField("min_score")
    assert (third.top_k, third.mode) == (8, retriever_pb2.RETRIEVAL_MODE_HYBRID)
    assert third.min_score == pytest.approx(0.25)


async def test_what_the_search_degraded_is_told_after_the_sources(extractive, retriever: FakeRetriever) -> None:
    retriever.responses = found(SKY, notices=[passage_pb2.Notice(code="KEYWORD_ONLY", message="No vectors.")])
    events = await answer(extractive)
    names = kinds(events)
    assert names.index("notice") == names.index("sources") + 1
    assert events[names.index("notice")].notice == passage_pb2.Notice(code="KEYWORD_ONLY", message="No vectors.")


async def test_it_serves_while_the_retriever_does() -> None:
    fake = FakeRetriever()
    async with AsyncExitStack() as stack:
        async with serving_retriever(fake) as address:
            stub = await stack.enter_async_context(serving_generator(address, provider="extractive"))
            health = health_pb2_grpc.HealthStub(stub.channel)
            asked = health_pb2.HealthCheckRequest(service="rag.v1.GeneratorService")
            watch = health.Watch(asked)
            async for answered in watch:
                if answered.status == health_pb2.HealthCheckResponse.SERVING:
                    break
        async for answered in watch:
            if answered.status == health_pb2.HealthCheckResponse.NOT_SERVING:
                break
        watch.cancel()


async def test_accepted_comes_before_the_retriever_is_asked() -> None:
    async with serving_generator("127.0.0.1:1", provider="extractive") as stub:
        events, error = await until_error(ask(stub))
    assert kinds(events) == ["accepted"]
    assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_search_that_fails_ends_the_answer_with_its_reason(extractive, retriever: FakeRetriever) -> None:
    retriever.error = Unavailable("The index is away.", "INDEX_UNAVAILABLE")
    retriever.responses = retriever.responses[:2]
    events, error = await until_error(ask(extractive))
    assert kinds(events) == ["accepted", "progress", "progress"]
    assert reason_of(error) == "INDEX_UNAVAILABLE"


async def test_a_search_that_ends_without_its_summary_is_a_failure(extractive, retriever: FakeRetriever) -> None:
    retriever.responses = retriever.responses[:-1]
    error = (await until_error(ask(extractive)))[1]
    assert reason_of(error) == "RETRIEVAL_CUT"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"question": ""}, "EMPTY_QUESTION"),
        ({"question": " \n"}, "EMPTY_QUESTION"),
        ({"question": "x" * 1_000_000}, "QUESTION_TOO_LONG"),
        ({"top_k": 0}, "BAD_TOP_K"),
        ({"top_k": 10_000}, "BAD_TOP_K"),
        ({"min_score": math.nan}, "BAD_MIN_SCORE"),
        ({"max_tokens": -1}, "BAD_MAX_TOKENS"),
        ({"temperature": math.nan}, "BAD_TEMPERATURE"),
        ({"mode": 17}, "BAD_MODE"),
    ],
)
async def test_bad_input_is_refused_before_anything_is_sent(
    extractive, retriever: FakeRetriever, fields: dict[str, object], reason: str
) -> None:
    events, error = await until_error(ask(extractive, **{"question": "Why?", **fields}))
    assert events == []
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(error) == reason
    assert retriever.requests == []
