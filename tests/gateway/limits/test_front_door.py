"""Limits as callers meet them, by REST and by gRPC, with a real Redis."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import grpc
import pytest
import redis.asyncio
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from rag.ids import new_id
from rag.runtime.errors import Unavailable
from rag.v1 import generator_pb2, ingestor_pb2, retriever_pb2
from rag.v1.generator_pb2_grpc import GeneratorServiceStub
from rag.v1.ingestor_pb2_grpc import IngestorServiceStub
from rag.v1.retriever_pb2_grpc import RetrieverServiceStub
from services.gateway.adapters.redis_limits import RedisLimits
from services.gateway.limits.ledger import Spent
from tests.gateway.conftest import Gateway
from tests.gateway.messages import answer, job
from tests.gateway.stage import HOLD
from tests.waiting import until

ASKED = generator_pb2.GenerateRequest(question="Why?")
Open = Callable[..., AbstractAsyncContextManager[Gateway]]


@pytest.fixture
def limited(open_gateway: Open, redis_url: str, tenant: str) -> Open:
    # Patience without end: what is shown here is what Redis says.
    return partial(open_gateway, redis_url=redis_url, tenant=tenant, limit_patience_ms=20_000)


def details(error: grpc.aio.AioRpcError) -> tuple[str, float]:
    """The reason, and when to come back in seconds."""
    reason, wait_s = "", -1.0
    for packed in rpc_status.from_call(error).details:
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if packed.Unpack(info):
            reason = info.reason
        elif packed.Unpack(retry):
            wait_s = retry.retry_delay.ToTimedelta().total_seconds()
    return reason, wait_s


async def ask(gateway: Gateway) -> list[generator_pb2.GenerateResponse]:
    return [event async for event in GeneratorServiceStub(gateway.channel).Generate(ASKED, timeout=20)]


def parts(*chunks: bytes, name: str = "a.txt", document_id: str = "") -> list[ingestor_pb2.SubmitDocumentRequest]:
    size = sum(map(len, chunks))
    return [
        ingestor_pb2.SubmitDocumentRequest(
            header=ingestor_pb2.SubmitDocumentHeader(name=name, document_id=document_id)
        ),
        *(ingestor_pb2.SubmitDocumentRequest(chunk=chunk) for chunk in chunks),
        ingestor_pb2.SubmitDocumentRequest(commit=ingestor_pb2.SubmitDocumentCommit(size_bytes=size)),
    ]


async def submit(gateway: Gateway, *chunks: bytes) -> ingestor_pb2.Job:
    call = IngestorServiceStub(gateway.channel).SubmitDocument(iter(parts(*chunks)), timeout=20)
    return (await call).job


def store(gateway: Gateway, documents: int, size: int, waiting: int = 0) -> None:
    """Have the services say what is stored and what waits."""

    gateway.backends.retriever.stored = retriever_pb2.GetStoredResponse(documents=documents, bytes=size)
    gateway.backends.ingestor.jobs_in = {"queued": [job("queued", size_bytes=10)] * waiting}


async def test_requests_beyond_the_rate_are_told_when_to_come_back(limited: Open) -> None:
    async with limited(limit_requests_per_minute=3) as gateway:
        answers = [await gateway.http.get("/v1/documents") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
        assert {answer.headers["ratelimit-limit"] for answer in answers} == {"3"}
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 20
        assert answers[-1].json()["reason"] == "RATE_LIMITED"
        with pytest.raises(grpc.aio.AioRpcError) as caught:  # one limit for both doors
            await RetrieverServiceStub(gateway.channel).ListDocuments(retriever_pb2.ListDocumentsRequest())
        reason, wait_s = details(caught.value)
        assert (caught.value.code(), reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")
        assert 0 < wait_s <= 20


async def test_health_and_open_pages_are_not_counted(limited: Open) -> None:
    async with limited(limit_requests_per_minute=1) as gateway:
        assert {(await gateway.http.get("/healthz")).status_code for _ in range(5)} == {200}
        assert (await gateway.http.get("/v1/documents")).status_code == 200
        assert "ratelimit-limit" not in (await gateway.http.get("/healthz")).headers


async def test_a_file_gives_one_tenant_other_limits(limited: Open, tmp_path: Path, tenant: str) -> None:
    file = tmp_path / "limits.json"
    file.write_text(json.dumps({tenant: {"requests_per_minute": 1}}))
    async with limited(limits_file=file) as gateway:
        assert [(await gateway.http.get("/v1/documents")).status_code for _ in range(2)] == [200, 429]


async def test_a_stream_more_than_may_be_open_is_refused_until_one_ends(limited: Open) -> None:
    async with limited(limit_streams=1) as gateway:
        gateway.backends.generator.stage.script = [answer()[0], HOLD, *answer()[1:]]
        stub = GeneratorServiceStub(gateway.channel)
        first = stub.Generate(ASKED, timeout=30)
        assert (await first.read()).HasField("accepted")
        refused = await gateway.http.post("/v1/query", json={"question": "Why?", "stream": True})
        assert (refused.status_code, refused.json()["reason"]) == (429, "TOO_MANY_STREAMS")
        assert refused.headers["retry-after"] == "1"
        assert (await gateway.http.get("/v1/documents")).status_code == 200
        first.cancel()

        async def is_free() -> bool:
            gateway.backends.generator.stage.script = answer("x")
            return (await gateway.http.post("/v1/query", json={"question": "Why?"})).status_code == 200

        await until(is_free)


async def test_of_50_parallel_questions_at_99_percent_of_the_budget_one_is_answered(
    limited: Open, redis: redis.asyncio.Redis, tenant: str
) -> None:
    async def has_spent(tokens: int) -> bool:
        return (await RedisLimits(redis).totals(tenant)).spent.tokens == tokens

    async with limited(limit_tokens_per_day=1_000, limit_reserve_tokens=500) as gateway:
        usage = generator_pb2.Usage(input_tokens=900, output_tokens=90, cost_usd=0.5)
        stage = gateway.backends.generator.stage
        stage.script = [answer()[0], generator_pb2.GenerateResponse(sequence=2, usage=usage)]
        await ask(gateway)

        await until(lambda: has_spent(990))
        before, stage.script = len(stage.requests), [answer()[0], HOLD, *stage.script[1:]]
        calls = [asyncio.create_task(ask(gateway)) for _ in range(50)]
        await until(lambda: sum(call.done() for call in calls) == 49)
        stage.release.set()
        results = await asyncio.gather(*calls, return_exceptions=True)
        errors = [result for result in results if isinstance(result, grpc.aio.AioRpcError)]
        assert len(errors) == 49
        assert {details(error)[0] for error in errors} == {"TOKENS_SPENT"}
        assert len(stage.requests) == before + 1
        await until(lambda: has_spent(1_980))
        spent = await gateway.http.post("/v1/query", json={"question": "Why?"})
        assert (spent.status_code, spent.json()["reason"]) == (429, "TOKENS_SPENT")
        assert 1 <= int(spent.headers["retry-after"]) <= 86_400


@pytest.mark.parametrize("door", ["grpc", "rest", "deadline"])
async def test_an_answer_that_its_caller_leaves_is_paid_for(
    limited: Open, redis: redis.asyncio.Redis, tenant: str, door: str
) -> None:
    """Else whoever hangs up just before the end has the model write for nothing."""
    begun = generator_pb2.GenerateResponse(
        sequence=2, progress=generator_pb2.Progress(stage=generator_pb2.STAGE_GENERATION)
    )

    async def spent() -> tuple[int, int]:
        totals = await RedisLimits(redis).totals(tenant)
        return totals.spent.tokens, totals.streams

    async with limited(limit_reserve_tokens=1_000, limit_reserve_cost_usd=0.01) as gateway:
        token = generator_pb2.GenerateResponse(sequence=3, token=generator_pb2.Token(text="x" * 3_000))
        gateway.backends.generator.stage.script = [answer()[0], begun, token, HOLD]
        if door == "rest":
            asked = gateway.http.stream("POST", "/v1/query", json={"question": "Why?", "stream": True})
            async with asked as response:
                async for line in response.aiter_lines():
                    if line.startswith("event: token"):
                        break
        else:
            call = GeneratorServiceStub(gateway.channel).Generate(ASKED, timeout=2 if door == "deadline" else 20)
            for _ in range(3):
                await call.read()
            if door == "deadline":
                assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            else:
                call.cancel()

        async def is_booked() -> bool:
            tokens, streams = await spent()
            return tokens >= 2_000 and streams == 0

        await until(is_booked)
        tokens, _ = await spent()
        assert tokens <= 2_100
        used = (await gateway.http.get("/v1/usage")).json()
        assert used["cost_usd_today"]["used"] == pytest.approx(tokens / 100_000, rel=0.01)


async def test_an_answer_without_a_price_costs_what_is_reserved_where_cost_is_limited(
    limited: Open, redis: redis.asyncio.Redis, tenant: str
) -> None:
    """Else a limit in dollars would never be reached with a model whose price nobody knows."""
    stage_script = [
        answer()[0],
        generator_pb2.GenerateResponse(sequence=2, usage=generator_pb2.Usage(input_tokens=400, output_tokens=100)),
    ]

    async def books(spent: Spent) -> bool:
        return (await RedisLimits(redis).totals(tenant)).spent == spent

    reserve = {"limit_reserve_tokens": 1_000, "limit_reserve_cost_usd": 0.01}
    async with limited(**reserve) as gateway:
        gateway.backends.generator.stage.script = stage_script
        await ask(gateway)
        await until(lambda: books(Spent(500, 0)))
    async with limited(**reserve, limit_cost_usd_per_day=0.004) as gateway:
        gateway.backends.generator.stage.script = stage_script
        await ask(gateway)
        await until(lambda: books(Spent(1_000, 5_000)))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(gateway)
        assert details(caught.value)[0] == "COST_SPENT"


async def test_an_answer_that_no_model_began_costs_nothing(
    limited: Open, redis: redis.asyncio.Redis, tenant: str
) -> None:
    begun = generator_pb2.GenerateResponse(
        sequence=2, progress=generator_pb2.Progress(stage=generator_pb2.STAGE_GENERATION)
    )
    async with limited() as gateway:
        gateway.backends.generator.stage.script = [answer()[0], begun, Unavailable("Away.", "MODEL_UNAVAILABLE")]
        failed = await gateway.http.post("/v1/query", json={"question": "Why?"})
        assert failed.json()["reason"] == "MODEL_UNAVAILABLE"

        async def is_free() -> bool:
            return (await RedisLimits(redis).totals(tenant)).streams == 0

        await until(is_free)
        assert (await RedisLimits(redis).totals(tenant)).spent == Spent()


async def test_documents_beyond_the_quota_are_refused_by_both_doors(limited: Open) -> None:
    async with limited(limit_documents=5) as gateway:
        store(gateway, documents=3, size=0, waiting=1)
        assert (await gateway.http.post("/v1/documents?name=a.txt", content=b"x")).status_code == 202
        store(gateway, documents=4, size=0, waiting=1)
        refused = await gateway.http.post("/v1/documents?name=a.txt", content=b"x")
        assert (refused.status_code, refused.json()["reason"]) == (429, "QUOTA_DOCUMENTS")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await submit(gateway, b"x")
        assert details(caught.value)[0] == "QUOTA_DOCUMENTS"
        by_url = await gateway.http.post("/v1/documents", json={"url": "https://example.com/a.txt"})
        assert by_url.json()["reason"] == "QUOTA_DOCUMENTS"
        assert len(gateway.backends.ingestor.committed) == 1


async def test_a_document_that_is_there_may_be_replaced_when_there_is_no_room_for_another(limited: Open) -> None:
    async with limited(limit_documents=1) as gateway:
        store(gateway, documents=1, size=10)
        new = await gateway.http.post("/v1/documents?name=a.txt&document_id=doc-2", content=b"x")
        assert (new.status_code, new.json()["reason"]) == (429, "QUOTA_DOCUMENTS")
        stub, header = IngestorServiceStub(gateway.channel), {"name": "a.txt", "document_id": "doc-2"}
        for opening in (header, {**header, "document_id": "'; x"}):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.SubmitDocument(iter(parts(b"x", **opening)), timeout=20)
            assert details(caught.value)[0] == "QUOTA_DOCUMENTS"
        assert not gateway.backends.ingestor.committed

        again = await gateway.http.post("/v1/documents?name=a.txt&document_id=doc-1", content=b"x")
        assert again.status_code == 202
        await stub.SubmitDocument(iter(parts(b"x", name="a.txt", document_id="doc-1")), timeout=20)
        fetched = {"url": "https://example.com/a.txt", "document_id": "doc-1"}
        assert (await gateway.http.post("/v1/documents", json=fetched)).status_code == 202
        assert len(gateway.backends.ingestor.committed) == 2


async def test_bytes_beyond_the_quota_break_an_upload_off(limited: Open) -> None:
    async with limited(limit_stored_bytes=1_000) as gateway:
        store(gateway, documents=1, size=880, waiting=2)
        assert (await gateway.http.post("/v1/documents?name=a.txt", content=b"x" * 100)).status_code == 202
        refused = await gateway.http.post("/v1/documents?name=a.txt", content=b"x" * 101)
        assert (refused.status_code, refused.json()["reason"]) == (429, "QUOTA_BYTES")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await submit(gateway, b"x" * 60, b"x" * 41)
        assert details(caught.value) == ("QUOTA_BYTES", 3_600)
        assert len(gateway.backends.ingestor.committed) == 1
        store(gateway, documents=1, size=1_000)
        assert (await gateway.http.post("/v1/documents?name=a.txt", content=b"x")).status_code == 429


async def test_an_upload_may_be_smaller_for_a_tenant_by_both_doors(limited: Open) -> None:
    async with limited(limit_upload_bytes=100) as gateway:
        assert (await gateway.http.post("/v1/documents?name=a.txt", content=b"x" * 100)).status_code == 202
        refused = await gateway.http.post("/v1/documents?name=a.txt", content=b"x" * 101)
        assert (refused.status_code, refused.json()["reason"]) == (413, "UPLOAD_TOO_LARGE")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await submit(gateway, b"x" * 60, b"x" * 41)
        assert details(caught.value) == ("UPLOAD_TOO_LARGE", -1)
        assert len(gateway.backends.ingestor.committed) == 1


async def test_without_redis_limits_hold_in_this_process(open_gateway: Open) -> None:
    nowhere = f"unix:///tmp/{new_id('none')}.sock"
    async with open_gateway(redis_url=nowhere, limit_requests_per_minute=2) as gateway:
        assert [(await gateway.http.get("/v1/documents")).status_code for _ in range(3)] == [200, 200, 429]


async def test_a_noisy_tenant_is_refused_and_a_quiet_one_served(limited: Open, tmp_path: Path, tenant: str) -> None:
    """One tenant far beyond its limit: its calls are refused with a time, all of the other's succeed."""
    file = tmp_path / "limits.json"
    file.write_text(json.dumps({f"{tenant}-noisy": {"requests_per_minute": 20}}))
    async with (
        limited(limits_file=file) as quiet,
        limited(limits_file=file, tenant=f"{tenant}-noisy") as noisy,
    ):

        async def shout(number: int) -> tuple[int, str | None]:
            answered = await noisy.http.post("/v1/query", json={"question": f"Why {number}?"})
            return answered.status_code, answered.headers.get("retry-after")

        shouting = asyncio.gather(*(shout(number) for number in range(200)))
        said = [await quiet.http.post("/v1/query", json={"question": "Why?"}) for _ in range(20)]
        shouted = await shouting
        assert {one.status_code for one in said} == {200}
        refused = [after for status, after in shouted if status == 429]
        assert len(refused) >= 200 - 20 - 20  # what a minute brings, and what drips in while the test runs
        assert all(after is not None and int(after) >= 1 for after in refused)
        assert {status for status, _ in shouted} == {200, 429}
