from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from functools import partial

import grpc
import pytest
import structlog
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from rag.runtime import context
from rag.runtime.context import CallContext
from rag.runtime.errors import NotFound, Overloaded, RagError, Unavailable
from rag.runtime.peers import Peer, open_peer
from rag.runtime.server import Mount, Room, serving
from rag.runtime.settings import ServiceSettings
from rag.v1 import embedder_pb2 as pb
from rag.v1 import embedder_pb2_grpc, ingestor_pb2, ingestor_pb2_grpc
from tests.waiting import until

NAME = "rag.v1.EmbedderService"
METADATA = (("x-rag-tenant", "acme"), ("x-request-id", "req-1"))


class Echo(embedder_pb2_grpc.EmbedderServiceServicer):
    """Tells what it saw, and does what the first text says."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        self.entered = asyncio.Event()
        self.release = asyncio.Event()
        self.calls = 0

    async def Embed(
        self, request: pb.EmbedRequest, context_: grpc.aio.ServicerContext
    ) -> AsyncIterator[pb.EmbedResponse]:
        self.calls += 1
        yield pb.EmbedResponse(model=context.current().tenant, revision=context.current().request_id)
        match request.texts[0]:
            case "fail":
                raise NotFound("There is no such thing.", "THING_NOT_FOUND", thing="x")
            case "crash":
                raise ValueError("secret internals")
            case "hang":
                self.entered.set()
                try:
                    await self.release.wait()
                except asyncio.CancelledError:
                    self.cancelled.set()
                    raise
                yield pb.EmbedResponse(offset=1)

    async def GetModel(self, request: pb.GetModelRequest, context_: grpc.aio.ServicerContext) -> pb.GetModelResponse:
        self.calls += 1
        if self.calls < 3:
            raise Unavailable("Not yet.", "NOT_YET")
        return pb.GetModelResponse(max_input_tokens=round(context.remaining_s(0)))


def room(servicer: Echo, *, ready: bool = True) -> Room:
    async def is_ready() -> bool:
        return ready

    return Room(
        name="echo",
        services=[
            Mount(NAME, lambda server: embedder_pb2_grpc.add_EmbedderServiceServicer_to_server(servicer, server))
        ],
        is_ready=is_ready,
    )


@asynccontextmanager
async def echo(servicer: Echo, **settings: int) -> AsyncIterator[Peer]:
    async with serving(ServiceSettings(lame_duck_ms=0, **settings), room(servicer)) as port:
        async with open_peer(f"127.0.0.1:{port}", NAME) as peer:
            await until(peer.is_serving)
            yield peer


async def embed(peer: Peer, text: str) -> list[pb.EmbedResponse]:
    stub = embedder_pb2_grpc.EmbedderServiceStub(peer.channel)
    async with aclosing(peer.stream(stub.Embed, pb.EmbedRequest(texts=[text]))) as responses:
        return [response async for response in responses]


@pytest.fixture(autouse=True)
def caller() -> Iterator[None]:
    # Taken back at the end: a deadline left behind would pass in the middle of somebody else's test.
    with context.bound(CallContext("req-1", "acme", time.monotonic() + 20)):
        yield


async def test_tenant_request_id_and_deadline_reach_the_handler() -> None:
    servicer = Echo()
    servicer.calls = 5
    async with echo(servicer) as peer:
        (response,) = await embed(peer, "x")
        model = await peer.unary(embedder_pb2_grpc.EmbedderServiceStub(peer.channel).GetModel, pb.GetModelRequest())
    assert (response.model, response.revision) == ("acme", "req-1")
    assert 15 <= model.max_input_tokens <= 20


async def test_an_error_of_the_domain_travels_whole() -> None:
    async with echo(Echo()) as peer:
        with pytest.raises(NotFound) as raised:
            await embed(peer, "fail")
    assert (raised.value.reason, raised.value.message, raised.value.metadata) == (
        "THING_NOT_FOUND",
        "There is no such thing.",
        {"thing": "x"},
    )


async def test_an_unexpected_error_shows_no_internals() -> None:
    async with echo(Echo()) as peer:
        call = embedder_pb2_grpc.EmbedderServiceStub(peer.channel).Embed(
            pb.EmbedRequest(texts=["crash"]), metadata=METADATA
        )
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            [response async for response in call]
    assert raised.value.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in str(raised.value)
    assert dict(raised.value.trailing_metadata())["x-request-id"] == "req-1"


async def test_what_only_reads_is_retried_while_unavailable() -> None:
    servicer = Echo()
    async with echo(servicer) as peer:
        await peer.unary(embedder_pb2_grpc.EmbedderServiceStub(peer.channel).GetModel, pb.GetModelRequest())
    assert servicer.calls == 3


@pytest.mark.parametrize("raw", [b"\x0a\x02\xff\xff", b"\xff\xff\xff", b"\x0a\xff"])
async def test_bytes_that_are_no_message_are_invalid(raw: bytes) -> None:
    async with echo(Echo()) as peer:
        call = peer.channel.unary_stream(f"/{NAME}/Embed")(raw, metadata=METADATA)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            [response async for response in call]
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert raised.value.details() == "The request is not a valid message of its type."


@pytest.mark.parametrize("tenant", ["", "a b", "x' or tenant == 'y", "a" * 65])
async def test_a_missing_or_malformed_tenant_is_refused(tenant: str) -> None:
    async with echo(Echo()) as peer:
        call = peer.channel.unary_stream(f"/{NAME}/Embed")(b"", metadata=(("x-rag-tenant", tenant),))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            [response async for response in call]
    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_one_call_too_many_is_refused_with_a_time_to_come_back() -> None:
    servicer = Echo()
    async with echo(servicer, max_concurrent_calls=1) as peer:
        running = asyncio.create_task(embed(peer, "hang"))
        await servicer.entered.wait()
        with pytest.raises(Overloaded) as raised:
            await embed(peer, "x")
        servicer.release.set()
        assert len(await running) == 2
    assert raised.value.retry_after_s == 1.0


async def test_a_reader_that_leaves_cancels_the_handler() -> None:
    servicer = Echo()
    async with echo(servicer) as peer:
        running = asyncio.create_task(embed(peer, "hang"))
        await servicer.entered.wait()
        running.cancel()
        await asyncio.wait_for(servicer.cancelled.wait(), 5)


async def test_a_deadline_ends_the_call_and_the_handler() -> None:
    servicer = Echo()
    async with echo(servicer) as peer:
        context.use(CallContext("req-1", "acme", time.monotonic() + 2))
        with pytest.raises(RagError) as raised:
            await embed(peer, "hang")
        await asyncio.wait_for(servicer.cancelled.wait(), 5)
    assert raised.value.reason == "DEADLINE_EXCEEDED"


async def test_running_calls_finish_while_the_server_drains() -> None:
    servicer = Echo()
    async with open_peer_to(servicer) as (peer, leave):
        running = asyncio.create_task(embed(peer, "hang"))
        await servicer.entered.wait()
        draining = asyncio.create_task(leave())
        await until(lambda: not_serving(peer))
        servicer.release.set()
        assert len(await running) == 2
        await asyncio.wait_for(draining, 4)


@asynccontextmanager
async def open_peer_to(servicer: Echo) -> AsyncIterator[tuple[Peer, object]]:
    server = serving(ServiceSettings(lame_duck_ms=300, drain_grace_ms=20_000), room(servicer))
    port = await server.__aenter__()
    async with open_peer(f"127.0.0.1:{port}", NAME) as peer:
        await until(peer.is_serving)
        yield peer, lambda: server.__aexit__(None, None, None)


async def not_serving(peer: Peer) -> bool:
    return not await peer.is_serving()


async def test_health_is_per_service_and_waits_for_the_dependencies() -> None:
    async with serving(ServiceSettings(lame_duck_ms=0), room(Echo(), ready=False)) as port:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            for name in ("", NAME):
                answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
                assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await stub.Check(health_pb2.HealthCheckRequest(service="rag.v1.Nothing"))
            assert raised.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("settings", "is_said"),
    [({}, False), ({"host": "0.0.0.0"}, True), ({"host": "0.0.0.0", "mesh_secret": "s" * 32}, False)],
)
async def test_a_service_that_believes_everybody_on_the_network_says_so(
    settings: dict[str, str], is_said: bool
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with serving(ServiceSettings(lame_duck_ms=0, **settings), room(Echo())):
            pass
    assert ("believes_anybody" in [line["event"] for line in logs]) == is_said


async def test_every_error_has_one_error_info() -> None:
    async with echo(Echo()) as peer:
        call = embedder_pb2_grpc.EmbedderServiceStub(peer.channel).Embed(
            pb.EmbedRequest(texts=["fail"]), metadata=METADATA
        )
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            [response async for response in call]
    (detail,) = rpc_status.from_call(raised.value).details
    info = error_details_pb2.ErrorInfo()
    assert detail.Unpack(info)
    assert (info.reason, info.domain, info.metadata["thing"]) == ("THING_NOT_FOUND", "ragmesh", "x")


async def test_a_port_in_use_is_said_so() -> None:
    async with serving(ServiceSettings(lame_duck_ms=0), room(Echo())) as port:
        with pytest.raises(RagError, match="is another process using it"):
            async with serving(ServiceSettings(port=port), room(Echo())):
                pass


class Refuser(ingestor_pb2_grpc.IngestorServiceServicer):
    """Refuses an upload at its first message, whatever else is on its way."""

    async def SubmitDocument(self, request_iterator: AsyncIterator[object], context_: object) -> object:
        await anext(aiter(request_iterator))
        raise NotFound("There is no such thing.", "THING_NOT_FOUND")


async def endless() -> AsyncIterator[ingestor_pb2.SubmitDocumentRequest]:
    while True:
        yield ingestor_pb2.SubmitDocumentRequest(chunk=bytes(64 * 1024))


async def some() -> AsyncIterator[ingestor_pb2.SubmitDocumentRequest]:
    for _ in range(200):
        yield ingestor_pb2.SubmitDocumentRequest(chunk=bytes(64 * 1024))


INGESTOR = "rag.v1.IngestorService"


@pytest.mark.parametrize("requests", [some, endless])
async def test_a_stream_refused_early_keeps_its_status_for_a_peer(
    requests: Callable[[], AsyncIterator[object]],
) -> None:
    async with refuser() as port, open_peer(f"127.0.0.1:{port}", INGESTOR) as peer:
        await until(peer.is_serving)
        with pytest.raises(NotFound):
            await peer.upload(ingestor_pb2_grpc.IngestorServiceStub(peer.channel).SubmitDocument, requests())


async def test_a_stream_refused_early_keeps_its_status_for_any_client() -> None:
    async with refuser() as port, grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        for _ in range(10):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await ingestor_pb2_grpc.IngestorServiceStub(channel).SubmitDocument(some(), metadata=METADATA)
            assert raised.value.code() is grpc.StatusCode.NOT_FOUND


@asynccontextmanager
async def refuser() -> AsyncIterator[int]:
    mount = Mount(INGESTOR, partial(ingestor_pb2_grpc.add_IngestorServiceServicer_to_server, Refuser()))
    async with serving(ServiceSettings(lame_duck_ms=0), Room("refuser", [mount], room(Echo()).is_ready)) as port:
        yield port


BROKEN = """
import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager
from rag.runtime.server import Room, run
from rag.runtime.settings import ServiceSettings

class BrokenSettings(ServiceSettings):
    lame_duck_ms: int = 0

async def ready():
    return True

async def breaks():
    raise ValueError("no more")

@asynccontextmanager
async def wire(settings):
    yield Room("broken", [], ready, [breaks])

run(BrokenSettings, wire)
"""


def test_a_service_whose_background_work_fails_stops_and_says_so() -> None:
    done = subprocess.run([sys.executable, "-c", BROKEN], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "Background work failed: ValueError('no more')" in done.stderr
