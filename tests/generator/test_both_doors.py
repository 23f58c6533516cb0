"""An answer has the same events through both doors of the gateway, field by field."""

from __future__ import annotations

import copy
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from rag.ids import new_id
from rag.runtime.mesh import TENANT
from rag.runtime.server import serving
from rag.v1 import generator_pb2 as pb
from rag.v1 import generator_pb2_grpc, passage_pb2
from services.gateway.http.query import answer_frames
from services.gateway.settings import GatewaySettings
from services.gateway.wiring import wire
from tests.doubles.fixtures import ModelServer
from tests.gateway.events import Event, parse
from tests.generator.making import GRASS, SKY, FakeRetriever, found, serving_generator, serving_retriever

RUN = new_id("run")
"""Makes the questions of this run its own: the cache is shared with other tests."""
NOTICE = passage_pb2.Notice(code="KEYWORD_ONLY", message="Only words were searched.")
TURNS = [{"role": "user", "text": "What about the sky?"}, {"role": "assistant", "text": "It is blue [1]."}]
ODD = "a\u2028b\u2029c\u0085d\x0b\x0c\x1c\r\n\té天🙂\\\"'</script>&amp;\x7f"

# What must differ between two runs of one question, and nothing else.
TIMES = {"progress": ["elapsed_ms"], "usage": ["first_token_ms", "total_ms", "stages"]}
IDS = {"accepted": ["answer_id", "request_id"]}


@dataclass(frozen=True)
class Case:
    name: str
    body: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    kind: str = "openai"
    is_kept: bool = False

    def json(self) -> dict[str, Any]:
        return {"question": f"{self.name} {RUN}?", "use_cache": self.is_kept, **self.body}


def _cases() -> Iterator[Case]:
    for number, deltas in enumerate(
        [
            ["Blue [1]."],
            ["Blue ", "[", "1", "]", " and green [2", ", 7]."],
            ["No marker."],
            ["Only a wrong one [9]."],
            [ODD, " [1] ", ODD, "[2]"],
            ["\u2028", "[1]", "\u2029"],
            ["🙂" * 50, "[1]", "天" * 50],
            ["[a](https://evil.com/?q=1) [1]"],
            ["![x](", "https://evil.com", ") and <img src=x> [2]"],
            ["See https:", "//evil.com", " [1]."],
            ["[1]" * 30],
            [f"word{n} " for n in range(200)],
            ["x" * 5_000, " [1]."],
            ["# A heading\n\n- one [1]\n- two [2]\n\n```\ncode[0]\n```"],
            ['{"text": "json"} [1]', "\ndata: x\n\nevent: done\n\n"],
        ]
    ):
        yield Case(f"deltas {number}", model={"deltas": deltas})
        yield Case(f"kept deltas {number}", model={"deltas": deltas}, is_kept=True)
    yield Case("length", model={"text": "cut here", "finish_reason": "length"})
    yield Case("no usage", model={"text": "Blue [1].", "usage": False})
    yield Case("cached tokens", model={"text": "Blue [1].", "cached_tokens": 5})
    yield Case("fails", model={"status": 401})
    yield Case("bad", model={"malformed": True})
    yield Case("noticed", model={"text": "Blue [1]."})
    yield Case("nothing")
    yield Case("history", {"history": TURNS}, {"text": "Is the sky blue?"})
    yield Case("kept history", {"history": TURNS}, {"text": "Is it?"}, is_kept=True)
    yield Case("history fails", {"history": TURNS}, {"status": 500})
    yield Case("parameters", {"top_k": 2, "mode": "dense", "min_score": 0.1, "max_tokens": 9, "temperature": 0})
    yield Case("keyword", {"mode": "keyword", "temperature": 1.5})
    for number, body in enumerate([{}, {"history": TURNS}, {"top_k": 1}, {"max_tokens": 20}]):
        yield Case(f"what colour is the sky {number}", body, kind="extractive")
    yield Case("what colour is grass, kept", kind="extractive", is_kept=True)
    yield Case("nothing to extract", kind="extractive")
    yield Case("noticed sky", kind="extractive")
    yield Case(ODD, kind="extractive")


CASES = list(_cases())


class Library(FakeRetriever):
    """Finds nothing, or less than it should, when the question says so."""

    async def Retrieve(self, request, context):
        texts = () if request.query.startswith("nothing") else (SKY, GRASS, ODD)
        for response in found(*texts, notices=[NOTICE] if request.query.startswith("noticed") else []):
            yield response


@dataclass(frozen=True)
class Doors:
    """One generator behind both doors."""

    stub: generator_pb2_grpc.GeneratorServiceStub
    http: httpx.AsyncClient

    async def over_grpc(self, case: Case) -> list[pb.GenerateResponse]:
        body = copy.deepcopy(case.json())
        for turn in body.get("history", []):
            turn["role"] = f"ROLE_{turn['role'].upper()}"
        if "mode" in body:
            body["mode"] = f"RETRIEVAL_MODE_{body['mode'].upper()}"
        call = self.stub.Generate(ParseDict(body, pb.GenerateRequest()), metadata=((TENANT, "default"),), timeout=30)
        return [event async for event in call]

    async def over_sse(self, case: Case) -> list[Event]:
        response = await self.http.post("/v1/query", json={**case.json(), "stream": True})
        return parse(response.content)


@asynccontextmanager
async def _open(retriever: str, **settings: Any) -> AsyncIterator[Doors]:
    quick = {"port": 0, "lame_duck_ms": 0, "drain_grace_ms": 500}
    async with serving_generator(retriever, max_retries=0, breaker_failures=1_000, **settings) as generator:
        chosen = GatewaySettings(auth="off", http_port=0, generator_address=f"127.0.0.1:{generator.port}", **quick)
        async with wire(chosen) as room, serving(chosen, room) as port:
            base = f"http://127.0.0.1:{room.http_port}"
            async with (
                grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
                httpx.AsyncClient(base_url=base, timeout=30) as http,
            ):
                yield Doors(generator_pb2_grpc.GeneratorServiceStub(channel), http)


@pytest.fixture
async def doors(redis_url: str, model_server: ModelServer) -> AsyncIterator[dict[str, Doors]]:
    library = Library()
    await library.believe(redis_url)
    async with (
        serving_retriever(library) as retriever,
        _open(retriever, openai_base_url=model_server.base_url, redis_url=redis_url, semantic_threshold=0) as openai,
        _open(retriever, provider="extractive", redis_url=redis_url) as extractive,
    ):
        yield {"openai": openai, "extractive": extractive}


async def test_fifty_questions_have_the_same_events_through_both_doors(
    doors: dict[str, Doors], model_server: ModelServer
) -> None:
    assert len({case.json()["question"] for case in CASES}) == len(CASES) >= 50
    seen: set[str] = set()
    for case in CASES:
        model_server.reset()
        model_server.script(times=None, **(case.model or {"text": "Blue [1]."}))
        if case.is_kept:
            await doors[case.kind].over_grpc(case)
        sent = await doors[case.kind].over_grpc(case)
        events = await doors[case.kind].over_sse(case)

        assert sent[-1].HasField("done"), case.name
        assert sent[-2].usage.from_cache is case.is_kept, case.name
        for ids in ([str(event.sequence) for event in sent], [event.id for event in events]):
            assert ids == [str(number) for number in range(1, len(ids) + 1)], case.name
        assert _comparable(events) == _comparable(_as_events(sent)), case.name
        # The very same messages, framed: no field is left out, and no two runs are compared.
        framed = parse(b"".join([frame async for frame in answer_frames(_again(sent))]))
        assert framed == _as_events(sent), case.name
        seen |= {event.name for event in events}
        seen |= {events[-1].data["finish_reason"], events[-2].data["cache_layer"]}
        seen |= {name for name, value in events[-2].data.items() if value}
    assert seen >= {"citation", "notice", "stop", "length", "no_context", "none", "exact"}
    assert seen >= {"dropped_markers", "removed_links", "unsupported_sentences", "cached_input_tokens", "fallback_used"}


async def _again(events: Sequence[pb.GenerateResponse]) -> AsyncGenerator[pb.GenerateResponse, None]:
    for event in events:
        yield event


def _as_events(sent: Sequence[pb.GenerateResponse]) -> list[Event]:
    return [_as_event(event) for event in sent]


def _as_event(event: pb.GenerateResponse) -> Event:
    name = event.WhichOneof("event")
    return Event(name, _plain(getattr(event, name)), str(event.sequence))


def _comparable(events: Sequence[Event]) -> list[tuple[str, Any]]:
    """Return names and data, without what two runs differ in, and with the text between other events joined.

    How much text waits when a token is sent depends on the moment; the text does not.
    """
    out: list[tuple[str, Any]] = []
    for event in events:
        if event.name == "token" and out and out[-1][0] == "token":
            out[-1] = ("token", {"text": out[-1][1]["text"] + event.data["text"]})
            continue
        data = dict(event.data)
        if event.name == "usage":
            data["stage_names"] = [stage["stage"] for stage in data["stages"]]
            data["has_first_token_ms"] = data["first_token_ms"] is not None
        for key in (TIMES | IDS).get(event.name, []):
            del data[key]
        out.append((event.name, data))
    return out


def _plain(message: Message) -> Any:
    """Return a message as the documentation of the SSE door says it, written down a second time."""
    return {one.name: _field(message, one) for one in message.DESCRIPTOR.fields}


def _field(message: Message, one: FieldDescriptor) -> Any:
    value = getattr(message, one.name)
    if one.is_repeated:
        return [_one(item, one) for item in value]
    return None if one.has_presence and not message.HasField(one.name) else _one(value, one)


def _one(value: Any, one: FieldDescriptor) -> Any:
    if one.enum_type is not None:
        prefix = one.enum_type.values_by_number[0].name.removesuffix("UNSPECIFIED")
        return one.enum_type.values_by_number[value].name.removeprefix(prefix).lower() if value else None
    return _plain(value) if isinstance(value, Message) else value
