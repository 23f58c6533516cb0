"""The embedder through its front door: a real server, a real channel, the real model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import grpc
import numpy as np
import pytest
import structlog
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from rag.ids import new_id
from rag.v1 import embedder_pb2 as pb
from rag.v1.embedder_pb2_grpc import EmbedderServiceStub
from rag.vectors import unpack
from tests.doubles.fixtures import ModelServer

TIMEOUT_S = 60


@pytest.fixture
def metadata(tenant: str) -> tuple[tuple[str, str], ...]:
    return (("x-rag-tenant", tenant),)


async def embed(
    stub: EmbedderServiceStub, metadata, texts: Sequence[str], document_id: str = ""
) -> list[pb.EmbedResponse]:
    request = pb.EmbedRequest(texts=texts, document_id=document_id)
    return [m async for m in stub.Embed(request, metadata=metadata, timeout=TIMEOUT_S)]


async def forget(stub: EmbedderServiceStub, metadata, document_id: str) -> int:
    request = pb.ForgetVectorsRequest(document_id=document_id)
    return (await stub.ForgetVectors(request, metadata=metadata, timeout=TIMEOUT_S)).forgotten


def endpoint_of(server: ModelServer) -> dict[str, object]:
    """Settings of an embedder behind the double; its vectors are shared with no other test."""
    return {"provider": "openai", "openai_base_url": server.base_url, "model": new_id("model"), "openai_dimension": 384}


def vectors(messages: Sequence[pb.EmbedResponse]) -> np.ndarray:
    return np.concatenate([unpack(message.values, message.dimension) for message in messages])


def info_of(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(error)
    assert any(detail.Unpack(info) for detail in status.details if detail.Is(info.DESCRIPTOR))
    return info


REVISION = "int8.1-53aa51172d142c89"


@pytest.mark.parametrize(("settings", "revision"), [({}, REVISION), ({"precision": "fp32"}, "53aa51172d142c89")])
async def test_the_model_tells_what_it_is(serve, metadata, settings, revision):
    async with serve(**settings) as stub:
        model = await stub.GetModel(pb.GetModelRequest(), metadata=metadata, timeout=TIMEOUT_S)
    assert model == pb.GetModelResponse(
        model="all-MiniLM-L6-v2", revision=revision, dimension=384, max_input_tokens=256, provider="local"
    )


async def test_two_precisions_share_no_vectors(serve, metadata):
    texts = [new_id("text")]
    async with serve() as stub, serve(precision="fp32") as other:
        answers = [(await embed(one, metadata, texts))[0] for one in (stub, other)]
    assert [message.usage.computed for message in answers] == [1, 1]


async def test_texts_become_vectors_in_order_and_small_messages(serve, metadata):
    texts = [f"{new_id('text')} number {n}" for n in range(300)]
    async with serve() as stub:
        messages = await embed(stub, metadata, texts)
        again = await embed(stub, metadata, texts[::-1])
    assert len(messages) > 1
    assert [message.offset for message in messages] == list(np.cumsum([0] + [m.count for m in messages[:-1]]))
    assert sum(message.usage.computed for message in messages) == 300
    assert all(message.ByteSize() < 1 << 20 for message in messages)
    assert all(message.revision == REVISION for message in messages)
    assert vectors(messages).shape == (300, 384)
    assert np.array_equal(vectors(again), vectors(messages)[::-1])
    assert sum(message.usage.from_memory for message in again) == 300


async def test_another_embedder_finds_the_vectors_in_redis(serve, metadata):
    texts = [new_id("text") for _ in range(3)]
    async with serve() as stub:
        first = await embed(stub, metadata, texts)
    async with serve() as stub:
        second = await embed(stub, metadata, texts)
    assert second[0].usage == pb.EmbedUsage(from_redis=3)
    assert np.array_equal(vectors(first), vectors(second))


async def test_without_redis_it_serves_all_the_same(serve, metadata):
    async with serve(redis_url="redis://127.0.0.1:1/0") as stub:
        messages = await embed(stub, metadata, ["is anybody there"])
    assert messages[0].usage.computed == 1


async def test_cut_texts_are_counted(serve, metadata):
    async with serve() as stub:
        (message,) = await embed(stub, metadata, [f"{new_id('text')} " + "word " * 500, new_id("text")])
    assert message.usage.truncated == 1
    assert 256 < message.usage.tokens < 300


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ([], "NO_TEXTS"),
        (["a", " "], "EMPTY_TEXT"),
        (["a"] * 2_049, "TOO_MANY_TEXTS"),
        (["a" * (1 << 20), "b"], "TEXTS_TOO_LARGE"),
    ],
)
async def test_bad_input_is_refused_and_the_service_goes_on(serve, metadata, texts, reason):
    async with serve() as stub:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await embed(stub, metadata, texts)
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert (info_of(error.value).reason, info_of(error.value).domain) == (reason, "ragmesh")
        assert len(await embed(stub, metadata, ["still here"])) == 1


async def test_bytes_that_are_no_text_are_refused(serve, metadata):
    async with serve() as stub, grpc.aio.insecure_channel(stub.address) as channel:
        call = channel.unary_stream("/rag.v1.EmbedderService/Embed")
        for body in (b"\x0a\x02\xff\xfe", b"\xff\xff\xff"):  # a string of broken UTF-8; no message at all
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call(body, metadata=metadata, timeout=TIMEOUT_S).read()
            assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_caller_that_cancels_does_not_disturb_another(serve, metadata):
    async with serve() as stub:
        long = stub.Embed(
            pb.EmbedRequest(texts=[f"{new_id('text')} {'word ' * 60}" for _ in range(300)]), metadata=metadata
        )
        await long.read()
        texts = [f"{new_id('text')} {'word ' * 30}" for _ in range(20)]
        async with asyncio.TaskGroup() as tasks:
            other = tasks.create_task(embed(stub, metadata, texts))
            long.cancel()
        assert vectors(other.result()).shape == (20, 384)


async def test_serving_only_once_the_model_answers(serve, model_server: ModelServer):
    model_server.script(status=500, times=None)
    async with (
        serve(provider="openai", openai_base_url=model_server.base_url, openai_retries=0, model="double-1") as stub,
        grpc.aio.insecure_channel(stub.address) as channel,
    ):
        request = health_pb2.HealthCheckRequest(service="rag.v1.EmbedderService")
        health = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(request, timeout=TIMEOUT_S)
        await model_server.wait_received(2)
        assert (await health.Check(request, timeout=TIMEOUT_S)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        model_server.reset()
        while (await watch.read()).status != health_pb2.HealthCheckResponse.SERVING:
            pass
        watch.cancel()


async def test_an_endpoint_serves_the_same_contract(serve, metadata, model_server: ModelServer):
    settings = {"provider": "openai", "openai_base_url": model_server.base_url, "model": new_id("model")}
    async with serve(**settings, openai_revision="3", openai_batch_texts=50, openai_parallel=2) as stub:
        model = await stub.GetModel(pb.GetModelRequest(), metadata=metadata, timeout=TIMEOUT_S)
        assert (model.dimension, model.provider, model.revision) == (384, "openai", "3")
        messages = await embed(stub, metadata, [f"text {n}" for n in range(200)])
        again = await embed(stub, metadata, ["text 7"])
    assert vectors(messages).shape == (200, 384)
    assert sum(message.usage.tokens for message in messages) == 400
    assert np.array_equal(vectors(again)[0], vectors(messages)[7])
    assert all(len(r["body"]["input"]) <= 50 for r in model_server.requests())


async def test_an_endpoint_that_refuses_the_key_says_so(serve, metadata, model_server: ModelServer):
    model_server.script(status=401, times=None)
    async with serve(provider="openai", openai_base_url=model_server.base_url) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await embed(stub, metadata, ["a"])
    assert error.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert info_of(error.value).reason == "MODEL_KEY_REFUSED"


async def test_an_endpoint_that_repeats_key_and_text_is_not_repeated_in_the_log(
    serve, metadata, model_server: ModelServer
):
    text = new_id("canary")
    async with serve(provider="openai", openai_base_url=model_server.base_url, openai_api_key="sk-canary") as stub:
        model_server.script(status=401, times=None, echo=True)
        with structlog.testing.capture_logs() as logs:
            with pytest.raises(grpc.aio.AioRpcError):
                await embed(stub, metadata, [text])
            assert "401" in str(logs)
    assert "sk-canary" not in str(logs)
    assert text not in str(logs)


async def test_vectors_of_a_document_are_forgotten_here_and_in_redis(serve, metadata, redis, tenant):
    texts = [new_id("text") for _ in range(70)]
    async with serve() as stub, serve() as other:
        await embed(stub, metadata, texts, "d1")
        await embed(stub, metadata, texts[:1], "d2")
        assert await redis.scard(f"rag:{tenant}:vectors:d1") == 70
        keys = await redis.smembers(f"rag:{tenant}:vectors:d1")
        assert await redis.exists(*keys) == 70
        assert await forget(other, (("x-rag-tenant", new_id("tenant")),), "d1") == 0
        assert await forget(stub, metadata, "d1") == 70
        assert await forget(stub, metadata, "d1") == 0
        assert await redis.exists(*keys, f"rag:{tenant}:vectors:d1") == 0
        assert sum(m.usage.computed for m in await embed(stub, metadata, texts)) == 70


async def test_what_another_embedder_was_told_to_forget_is_soon_forgotten_here(serve, metadata):
    text = new_id("text")
    async with serve(cache_age_s=0.2) as stub, serve() as other:
        await embed(stub, metadata, [text], "d1")
        assert await forget(other, metadata, "d1") == 1
        while not (await embed(stub, metadata, [text]))[0].usage.computed:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("document_id", ["a b", "d:1", "x" * 65, "*"])
async def test_ids_of_documents_are_checked(serve, metadata, document_id):
    async with serve() as stub:
        for call in (embed(stub, metadata, ["a"], document_id), forget(stub, metadata, document_id)):
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call
            assert info_of(error.value).reason == "BAD_ID"
        with pytest.raises(grpc.aio.AioRpcError):
            await forget(stub, metadata, "")


async def test_forgetting_without_redis_is_unavailable(serve, metadata):
    async with serve(redis_url="redis://127.0.0.1:1/0") as stub:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await forget(stub, metadata, "d1")
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_what_a_killed_caller_asked_for_is_computed_once(serve, metadata, model_server: ModelServer):
    texts = [f"text {n}" for n in range(20)]
    async with serve(**endpoint_of(model_server)) as stub:
        await embed(stub, metadata, ["warm"])
        model_server.script(path="embeddings", first_delay_ms=300)
        left = stub.Embed(pb.EmbedRequest(texts=texts, document_id="d1"), metadata=metadata)
        await model_server.wait_received(index_of_last(model_server) + 1)
        left.cancel()
        messages = await embed(stub, metadata, texts, "d1")
    assert sum(message.usage.computed for message in messages) == 0
    assert {text: model_server.counts()[text] for text in texts} == dict.fromkeys(texts, 1)


def index_of_last(server: ModelServer) -> int:
    return len(server.requests()) - 1


async def until_embedded(stub: EmbedderServiceStub, metadata, texts: Sequence[str]) -> list[tuple[str, str]]:
    """Asks until all are there; returns the code and the reason of each refusal."""
    refusals = []
    while True:
        try:
            await embed(stub, metadata, texts, "d1")
        except grpc.aio.AioRpcError as error:
            refusals.append((error.code().name, info_of(error).reason))
            await asyncio.sleep(0.1)
        else:
            return refusals


async def test_a_limited_endpoint_is_left_alone_by_all_embedders_and_no_text_is_lost(
    serve, metadata, model_server: ModelServer
):
    texts = [f"text {n}" for n in range(300)]
    settings = endpoint_of(model_server) | {"openai_batch_texts": 50, "openai_parallel": 1}
    async with serve(**settings) as stub, serve(**settings) as other:
        for one in (stub, other):
            await embed(one, metadata, ["warm"])
        model_server.script(path="embeddings")  # one good answer
        model_server.script(path="embeddings", status=429, retry_after="1")
        refusals = await until_embedded(stub, metadata, texts)
        assert set(refusals) == {("RESOURCE_EXHAUSTED", "MODEL_RATE_LIMITED")}
        assert model_server.refused() == 1
        model_server.script(path="embeddings", status=429, retry_after="1")
        one, more = await asyncio.gather(
            until_embedded(stub, metadata, ["a"]), until_embedded(other, metadata, ["b", "c"])
        )
    assert set(one + more) == {("RESOURCE_EXHAUSTED", "MODEL_RATE_LIMITED")}
    assert model_server.refused() == 2
    counts = model_server.counts()
    assert {text: counts[text] for text in texts} == dict.fromkeys(texts, 1)
