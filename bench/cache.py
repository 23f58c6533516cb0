"""`make bench-cache`: how fast answers come from the cache, each checked against the catalogue, through the whole system.

All services run as they are deployed, with the embedded engine; the model is a double over HTTP, and is asked once for each
question. Then the same questions are asked again and again over REST (server-sent events) and over gRPC.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx

from bench.report import RESULTS, finish
from bench.stream_targets import UNLIMITED
from bench.streams import Connection, Target, percentiles
from rag.runtime.mesh import TENANT
from rag.v1 import generator_pb2 as pb
from rag.v1.generator_pb2_grpc import GeneratorServiceStub
from tests.doubles.fixtures import starting_model_server
from tests.system.processes import Tree, running_tree
from tests.waiting import until

_CALLERS = (1, 2, 8, 32)
_QUESTIONS = 40
_WARM_UP_S = 1.0

Ask = Callable[[str], Awaitable[bool]]
"""Asks a question; tells whether the answer came from the cache."""


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each number of callers asks (8)")
    asyncio.run(_measure(parser.parse_args().seconds))


async def _measure(seconds: float) -> None:
    with (
        tempfile.TemporaryDirectory() as name,
        starting_model_server() as model,
        running_tree(
            Path(name), RESULTS / "models", OPENAI_BASE_URL=model.base_url, RAG_LOG_LEVEL="WARNING", **UNLIMITED
        ) as tree,
    ):
        questions = await _documents(tree)
        rows = []
        for door in (_sse, _grpc):
            for callers in _CALLERS:
                rows.append(await _level(door, tree, questions, callers, seconds))
    finish("cache", rows, failed=any(row["not cached"] for row in rows))


async def _documents(tree: Tree) -> list[str]:
    """Store documents; return a question for each that its text answers."""
    topics = [f"device {number}" for number in range(_QUESTIONS)]
    async with httpx.AsyncClient(base_url=tree.url, timeout=60) as http:
        for number, topic in enumerate(topics):
            text = (
                f"The {topic} is switched off by its lever number {number}. It is cleaned every {number + 2} days. " * 6
            )
            job = (
                (await http.post("/v1/documents", json={"name": f"{topic}.txt", "text": text}))
                .raise_for_status()
                .json()
            )

            async def is_done(job_id: str = job["id"]) -> bool:
                return bool((await http.get(f"/v1/jobs/{job_id}")).json()["state"] == "ready")

            await until(is_done, 60)
    return [f"How is the {topic} switched off?" for topic in topics]


async def _level(door: Any, tree: Tree, questions: Sequence[str], callers: int, seconds: float) -> dict[str, Any]:
    times: list[float] = []
    missed = 0
    async with AsyncExitStack() as stack:
        asks = [await stack.enter_async_context(door(tree)) for _ in range(callers)]
        for question in questions:
            await asks[0](question)
        turns = itertools.cycle(questions)
        end = time.perf_counter() + _WARM_UP_S + seconds

        async def work(ask: Ask) -> None:
            nonlocal missed
            while (began := time.perf_counter()) < end:
                is_cached = await ask(next(turns))
                if began > end - seconds:
                    missed += not is_cached
                    times.append((time.perf_counter() - began) * 1_000)

        async with asyncio.TaskGroup() as group:
            for ask in asks:
                group.create_task(work(ask))
    middle, late, latest = percentiles(times)
    return {
        "door": door.__name__.strip("_"),
        "callers": callers,
        "answers/s": len(times) / seconds,
        "p50 ms": middle,
        "p95 ms": late,
        "p99 ms": latest,
        "not cached": missed,
    }


@asynccontextmanager
async def _sse(tree: Tree) -> AsyncIterator[Ask]:
    events = (b"event: accepted", b"event: token", b"event: done")
    target = Target("ragmesh", tree.http_port, "/v1/query", lambda q: {"question": q, "stream": True}, *events)
    connection = Connection(target)

    async def ask(question: str) -> bool:
        return b'"from_cache":true' in (await connection.ask(question)).body

    try:
        yield ask
    finally:
        connection.close()


@asynccontextmanager
async def _grpc(tree: Tree) -> AsyncIterator[Ask]:
    async with grpc.aio.insecure_channel(tree.address) as channel:
        stub = GeneratorServiceStub(channel)

        async def ask(question: str) -> bool:
            call = stub.Generate(pb.GenerateRequest(question=question), timeout=60, metadata=((TENANT, "default"),))
            events = [event async for event in call]
            return any(event.usage.from_cache for event in events)

        yield ask


if __name__ == "__main__":
    main()
