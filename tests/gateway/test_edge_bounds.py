"""What the gRPC door does with callers who set no bounds, and what it tells of itself."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from redis.asyncio import Redis

from rag.v1 import generator_pb2, generator_pb2_grpc
from tests.gateway.owning import NAMES, Owned, open_owned
from tests.gateway.stage import HOLD
from tests.waiting import until

OWN = "rag.v1.GatewayService"


@pytest.fixture
async def owned(redis: Redis, tenant: str) -> AsyncIterator[Owned]:
    async with open_owned(redis, tenant, call_timeout_s=1.0) as opened:
        yield opened


async def test_a_caller_without_a_deadline_gets_one(owned: Owned) -> None:
    stage = owned.backends.generator.stage
    stage.script = [HOLD]
    stub = generator_pb2_grpc.GeneratorServiceStub(owned.channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in stub.Generate(generator_pb2.GenerateRequest(question="q")):
            pass
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    [call] = stage.calls
    assert call.deadline is not None
    assert call.deadline <= time.monotonic() + 1.0


async def test_a_longer_deadline_is_cut_and_a_shorter_one_kept(owned: Owned) -> None:
    stage, stub = owned.backends.generator.stage, generator_pb2_grpc.GeneratorServiceStub(owned.channel)
    stage.script = []
    for seconds in (3_600.0, 0.5):
        async for _ in stub.Generate(generator_pb2.GenerateRequest(question="q"), timeout=seconds):
            pass
        deadline = stage.calls[-1].deadline
        assert deadline is not None
        # gRPC rounds a deadline up on its way: to a millisecond, and to ten from a second on; there are two hops.
        assert deadline <= time.monotonic() + min(seconds, 1.0) + 0.02


async def test_a_message_that_is_too_large_is_refused_with_its_size(owned: Owned) -> None:
    stub = generator_pb2_grpc.GeneratorServiceStub(owned.channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in stub.Generate(generator_pb2.GenerateRequest(question="q" * (5 << 20))):
            pass
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in (caught.value.details() or "")
    assert owned.backends.generator.stage.calls == []


async def test_the_door_has_a_health_of_its_own(owned: Owned) -> None:
    stub = health_pb2_grpc.HealthStub(owned.channel)

    async def serving() -> bool:
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=OWN))
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    await until(serving)


async def test_reflection_lists_every_service(owned: Owned) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(owned.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    [answer] = [one async for one in stub.ServerReflectionInfo(iter([request]))]
    listed = {service.name for service in answer.list_services_response.service}
    assert {OWN, *NAMES.values(), "grpc.health.v1.Health"} <= listed
