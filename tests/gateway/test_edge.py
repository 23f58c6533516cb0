"""The gRPC door, used by clients that know nothing but its address."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from rag.runtime.errors import AlreadyExists, Overloaded
from rag.v1 import (
    embedder_pb2,
    generator_pb2,
    generator_pb2_grpc,
    ingestor_pb2,
    ingestor_pb2_grpc,
    retriever_pb2,
    retriever_pb2_grpc,
)
from tests.gateway.messages import answer
from tests.gateway.stage import HOLD
from tests.waiting import until


async def _reflect(channel, **request):
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(**request)]))
    return await anext(aiter(call))


async def _pool(channel, symbol):
    pool = descriptor_pool.DescriptorPool()
    answered = await _reflect(channel, file_containing_symbol=symbol)
    todo = [
        descriptor_pb2.FileDescriptorProto.FromString(raw)
        for raw in answered.file_descriptor_response.file_descriptor_proto
    ]
    files = {file.name: file for file in todo}
    while todo:
        for name in todo.pop().dependency:
            if name not in files:
                raw = (await _reflect(channel, file_by_filename=name)).file_descriptor_response.file_descriptor_proto[0]
                files[name] = descriptor_pb2.FileDescriptorProto.FromString(raw)
                todo.append(files[name])

    def add(name):
        for dependency in files[name].dependency:
            add(dependency)
        pool.Add(files[name])

    for name in files:
        add(name)
    return pool


async def test_reflection_lists_the_services_and_is_enough_to_ask(gateway):
    listed = (await _reflect(gateway.channel, list_services="")).list_services_response.service
    names = {service.name for service in listed}
    assert {f"rag.v1.{name}Service" for name in ("Embedder", "Retriever", "Generator", "Ingestor")} <= names
    assert "grpc.health.v1.Health" in names

    pool = await _pool(gateway.channel, "rag.v1.GeneratorService")
    method = pool.FindServiceByName("rag.v1.GeneratorService").FindMethodByName("Generate")
    request_type = message_factory.GetMessageClass(method.input_type)
    response_type = message_factory.GetMessageClass(method.output_type)
    call = gateway.channel.unary_stream(
        "/rag.v1.GeneratorService/Generate", request_type.SerializeToString, response_type.FromString
    )
    events = [event async for event in call(request_type(question="why?"))]

    assert [event.WhichOneof("event") for event in events][:4] == ["accepted", "progress", "sources", "token"]
    assert gateway.backends.generator.stage.requests[0].question == "why?"


async def test_a_unary_call_passes_through(gateway):
    stub = retriever_pb2_grpc.RetrieverServiceStub(gateway.channel)

    answered = await stub.GetDocument(retriever_pb2.GetDocumentRequest(document_id="doc-1"))

    assert answered.document.id == "doc-1"


async def test_a_client_stream_passes_through(gateway):
    stub = ingestor_pb2_grpc.IngestorServiceStub(gateway.channel)
    header = ingestor_pb2.SubmitDocumentHeader(name="a.txt")
    parts = [
        ingestor_pb2.SubmitDocumentRequest(header=header),
        ingestor_pb2.SubmitDocumentRequest(chunk=b"abc"),
        ingestor_pb2.SubmitDocumentRequest(commit=ingestor_pb2.SubmitDocumentCommit(size_bytes=3)),
    ]

    answered = await stub.SubmitDocument(iter(parts))

    assert answered.job.size_bytes == 3


async def test_errors_pass_through_with_their_details(gateway):
    gateway.backends.generator.stage.script = [answer()[0], Overloaded("Too much.", "BUSY", 1.5, limit="3")]
    stub = generator_pb2_grpc.GeneratorServiceStub(gateway.channel)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in stub.Generate(generator_pb2.GenerateRequest(question="q")):
            pass

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    details = rpc_status.from_call(caught.value).details
    assert details[0].Unpack(info)
    assert details[1].Unpack(retry)
    assert (info.reason, info.domain, dict(info.metadata)) == ("BUSY", "ragmesh", {"limit": "3"})
    assert retry.retry_delay.ToMilliseconds() == 1500


async def test_a_cancel_reaches_the_service(gateway):
    stage = gateway.backends.generator.stage
    stage.script = [answer()[0], HOLD]
    call = generator_pb2_grpc.GeneratorServiceStub(gateway.channel).Generate(
        generator_pb2.GenerateRequest(question="q")
    )
    await call.read()

    call.cancel()

    await asyncio.wait_for(stage.cancelled.wait(), 20)


async def test_an_upload_that_is_cancelled_is_not_committed(gateway):
    ingestor = gateway.backends.ingestor
    ingestor.stage.script = [HOLD]
    call = ingestor_pb2_grpc.IngestorServiceStub(gateway.channel).SubmitDocument()
    header = ingestor_pb2.SubmitDocumentHeader(name="a.txt")
    await call.write(ingestor_pb2.SubmitDocumentRequest(header=header))
    await call.write(ingestor_pb2.SubmitDocumentRequest(chunk=b"half"))
    await asyncio.wait_for(ingestor.first_bytes.wait(), 20)

    call.cancel()

    await asyncio.wait_for(ingestor.ended.wait(), 20)
    assert not ingestor.committed


async def test_an_early_refusal_of_an_upload_keeps_its_status(gateway):
    gateway.backends.ingestor.refuse = AlreadyExists("There is such a document.", "DOCUMENT_EXISTS")
    call = gateway.channel.stream_stream("/rag.v1.IngestorService/SubmitDocument")
    header = ingestor_pb2.SubmitDocumentRequest(header=ingestor_pb2.SubmitDocumentHeader(name="a.txt"))
    rpc = call()
    await rpc.write(header.SerializeToString())

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await rpc.read()

    assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS


async def test_a_deadline_reaches_the_service(gateway):
    stage = gateway.backends.generator.stage
    stage.script = [HOLD]
    stub = generator_pb2_grpc.GeneratorServiceStub(gateway.channel)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Generate(generator_pb2.GenerateRequest(question="q"), timeout=2).read()

    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(stage.cancelled.wait(), 20)


@pytest.mark.parametrize("raw", [b"\xff\xff\xff", b"\x0a\x02\xff\xfe", b"\x0a\xff\xff\xff\xff\x07"])
async def test_bytes_that_are_no_message_are_the_callers_fault(gateway, raw):
    call = gateway.channel.unary_stream("/rag.v1.GeneratorService/Generate")

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(raw).read()

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("path", ["/rag.v1.GeneratorService/Nope", "/rag.v1.NopeService/Generate"])
async def test_a_method_the_contract_lacks_is_unimplemented(gateway, path):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.channel.unary_unary(path)(b"")

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_the_tenant_is_the_doors_and_the_request_id_the_callers(gateway):
    call = gateway.channel.unary_unary("/rag.v1.EmbedderService/GetModel")
    metadata = (("x-rag-tenant", "other"), ("x-request-id", "abc"))

    rpc = call(embedder_pb2.GetModelRequest().SerializeToString(), metadata=metadata)
    await rpc

    seen = gateway.backends.embedder.stage.calls[0]
    assert (seen.tenant, seen.request_id) == ("default", "abc")
    assert seen.deadline is not None
    assert dict(await rpc.trailing_metadata())["x-request-id"] == "abc"


async def test_the_health_of_each_service_is_that_of_the_service_behind(open_gateway):
    async with open_gateway() as gateway:
        gateway.backends.ingestor.stage.serving = False
        health = health_pb2_grpc.HealthStub(gateway.channel)

        async def status(name: str) -> int:
            return (await health.Check(health_pb2.HealthCheckRequest(service=name))).status

        async def followed() -> bool:
            return await status("rag.v1.IngestorService") == health_pb2.HealthCheckResponse.NOT_SERVING

        await until(followed)
        assert await status("rag.v1.GeneratorService") == health_pb2.HealthCheckResponse.SERVING
