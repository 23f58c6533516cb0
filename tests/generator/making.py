"""Passages, sources and prompts made for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from rag.passage import Passage
from rag.runtime.mesh import TENANT
from rag.runtime.redis import open_redis
from rag.runtime.server import Mount, Room, serving
from rag.runtime.settings import ServiceSettings
from rag.v1 import generator_pb2, generator_pb2_grpc, passage_pb2, retriever_pb2, retriever_pb2_grpc
from services.generator.events import Source
from services.generator.prompting import templates
from services.generator.prompting.prompt import Prompt, Prompts
from services.generator.prompting.tokens import tokens_at_most
from services.generator.question import Asked, Defaults, Question, Turn, checked
from services.generator.settings import GeneratorSettings
from services.generator.wiring import wire

SKY = "Many colours exist in nature. The sky is blue by day. At night it is black."
GRASS = "Grass is green in spring. It grows fast."


def passage(text: str, number: int = 1, start: int = 0, heading: str = "", page: int = 1) -> Passage:
    return Passage(
        id=f"p{number}",
        document_id="doc",
        version=1,
        ordinal=number - 1,
        text=text,
        heading=heading,
        page=page,
        char_start=start,
        char_end=start + len(text),
        token_count=len(text) // 4,
    )


def sources(*texts: str, start: int = 0) -> tuple[Source, ...]:
    return tuple(
        Source(number, passage(text, number, start), f"Title {number}", 1 / number)
        for number, text in enumerate(texts, 1)
    )


def question_of(text: str, *history: Turn) -> Question:
    return checked(Asked(text, max_tokens=100, temperature=0.2, history=history), Defaults())


def prompts_of(passage_budget_tokens: int = 6_000, history_budget_tokens: int = 3_000, **changes) -> Prompts:
    return Prompts(templates.load(), tokens_at_most, passage_budget_tokens, history_budget_tokens, **changes)


def prompt_of(question: str, *texts: str) -> Prompt:
    return prompts_of().render(question_of(question), question, sources(*texts))


def hit(text: str, rank: int = 1, start: int = 0) -> retriever_pb2.Hit:
    found = passage_pb2.Passage(
        id=f"p{rank}", document_id="doc", version=3, ordinal=rank, text=text, page=rank, char_start=start,
        char_end=start + len(text), token_count=9,
    )  # fmt: skip
    return retriever_pb2.Hit(rank=rank, score=1 / rank, dense_score=0.9, passage=found, title=f"Title {rank}")


def found(*texts: str, notices: Sequence[passage_pb2.Notice] = ()) -> list[retriever_pb2.RetrieveResponse]:
    response = retriever_pb2.RetrieveResponse
    stages = (retriever_pb2.RETRIEVAL_STAGE_EMBEDDING, retriever_pb2.RETRIEVAL_STAGE_SEARCH)
    return [
        *(response(progress=retriever_pb2.RetrieveProgress(stage=stage)) for stage in stages),
        *(response(hit=hit(text, rank, 100 * rank)) for rank, text in enumerate(texts, 1)),
        response(summary=retriever_pb2.RetrieveSummary(hits=len(texts), notices=notices)),
    ]


class FakeRetriever(retriever_pb2_grpc.RetrieverServiceServicer):
    """A real gRPC servicer that answers what the test says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.responses: list[retriever_pb2.RetrieveResponse] = found()
        self.error: Exception | None = None
        self.requests: list[retriever_pb2.RetrieveRequest] = []
        self.state = retriever_pb2.CheckDocumentsResponse(index="live", state="run/1", commits=1)

    async def Retrieve(self, request, context) -> AsyncIterator[retriever_pb2.RetrieveResponse]:
        self.requests.append(request)
        for response in self.responses:
            yield response
        if self.error:
            raise self.error

    async def believe(self, redis_url: str) -> None:
        """Speak of the Redis at `redis_url` as a retriever does whose catalogue is in it."""
        async with open_redis(redis_url) as redis:
            self.state.state = f"{(await redis.info('server'))['run_id']}/0"

    async def CheckDocuments(self, request, context) -> retriever_pb2.CheckDocumentsResponse:
        return self.state


# There is no embedder here: questions are compared by their words only.
_QUICK = {"port": 0, "metrics_port": 0, "lame_duck_ms": 0, "drain_grace_ms": 500, "semantic_threshold": 0}


async def _ready() -> bool:
    return True


@asynccontextmanager
async def serving_retriever(fake: FakeRetriever) -> AsyncIterator[str]:
    def add(server: grpc.aio.Server) -> None:
        retriever_pb2_grpc.add_RetrieverServiceServicer_to_server(fake, server)

    room = Room("retriever", [Mount("rag.v1.RetrieverService", add)], _ready)
    settings = ServiceSettings(lame_duck_ms=0, drain_grace_ms=500)
    async with serving(settings, room) as port:
        yield f"127.0.0.1:{port}"


@asynccontextmanager
async def serving_generator(retriever: str, **settings) -> AsyncIterator[generator_pb2_grpc.GeneratorServiceStub]:
    chosen = GeneratorSettings(**{**_QUICK, "retriever_address": retriever, **settings})
    async with (
        wire(chosen) as room,
        serving(chosen, room) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        stub = generator_pb2_grpc.GeneratorServiceStub(channel)
        stub.channel, stub.port = channel, port
        yield stub


def ask(stub, question: str = "What colour is the sky?", **fields) -> grpc.aio.UnaryStreamCall:
    request = generator_pb2.GenerateRequest(question=question, **{"use_cache": False, **fields})
    return stub.Generate(request, metadata=((TENANT, "acme"), ("x-request-id", "req-1")), timeout=30)


async def answer(stub, question: str = "What colour is the sky?", **fields) -> list[generator_pb2.GenerateResponse]:
    return [event async for event in ask(stub, question, **fields)]


def kinds(events: Sequence[generator_pb2.GenerateResponse]) -> list[str]:
    return [event.WhichOneof("event") for event in events]


def text_of(events: Sequence[generator_pb2.GenerateResponse]) -> str:
    return "".join(event.token.text for event in events)


def reason_of(error: grpc.aio.AioRpcError) -> str:
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info):
            return info.reason
    raise AssertionError("the status carries no ErrorInfo")


async def until_error(call) -> tuple[list[generator_pb2.GenerateResponse], grpc.aio.AioRpcError]:
    events: list[generator_pb2.GenerateResponse] = []
    try:
        async for event in call:
            events.append(event)
    except grpc.aio.AioRpcError as error:
        return events, error
    raise AssertionError("the stream ended without an error")
