"""`make bench-retrieval`: how fast the retriever searches, without the query's embedding and without its caches.

The retriever runs as a process of its own over the embedded engine; its embedder answers at once. What was loaded is kept
under results/retrieval, for the next time.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bench.passages import BIG, PER_DOCUMENT, AtOnce, Corpus, tenant_of
from bench.report import RESULTS, finish
from rag.cli.own_services import free_ports
from rag.runtime import logs
from rag.runtime.settings import child_environment
from rag.v1 import retriever_pb2 as pb
from rag.v1.retriever_pb2_grpc import RetrieverServiceStub
from tests.redis_server import running_redis
from tests.retriever.room import embedder, of
from tests.waiting import until

_SERVICE = "rag.v1.RetrieverService"
_START_LIMIT_S = 600.0
_LINGER_S = 60.0
_MODES = {
    "hybrid": pb.RETRIEVAL_MODE_HYBRID,
    "dense": pb.RETRIEVAL_MODE_DENSE,
    "keyword": pb.RETRIEVAL_MODE_KEYWORD,
}
_ALONE = 300
_CALLERS = (1, 8, 32)
_CALLERS_S = 8.0


@dataclass
class Running:
    """A retriever that serves."""

    stub: RetrieverServiceStub
    process: asyncio.subprocess.Process
    folder: Path
    serving_s: float

    async def late(self) -> dict[str, float]:
        """Return how late its event loop was since this was last asked, in ms."""
        target = self.folder / "late.json"
        target.unlink(missing_ok=True)
        self.process.send_signal(signal.SIGUSR1)
        await until(target.exists)
        return dict(json.loads(target.read_text()))

    def busy_ms(self) -> tuple[float, float]:
        """Return the ms of processor time that the retriever and its engine have taken so far."""
        return _busy_ms(psutil.Process(self.process.pid)), _busy_ms(self._engine())

    def memory_mib(self) -> int:
        """Return what the retriever and its engine hold resident."""
        return sum(one.memory_info().rss for one in (psutil.Process(self.process.pid), self._engine())) // 2**20

    def _engine(self) -> psutil.Process:
        # Not always a descendant: one that outlived a retriever has another parent.
        database = f"{self.folder}/"
        every = psutil.process_iter(["name", "cmdline"])
        return next(
            one for one in every if one.info["name"] == "milvus" and database in " ".join(one.info["cmdline"] or [])
        )


def main() -> None:
    """Measure at a tenth, a third and all of the passages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passages", type=int, default=20_000)
    parser.add_argument("--corpora", type=Path, help="a folder of .jsonl, .md and .txt files to mix the texts from")
    parser.add_argument("--sizes", type=int, nargs="*", help="measure at these sizes instead")
    given = parser.parse_args()
    logs.configure("bench", "text", "WARNING")
    corpus = Corpus(given.corpora)
    sizes = given.sizes or [given.passages // 10, given.passages // 3, given.passages]
    whole = [size // PER_DOCUMENT * PER_DOCUMENT for size in sizes]
    measured = [asyncio.run(measure(corpus, size)) for size in whole if size]
    finish("retrieval", [row for rows, _ in measured for row in rows], sizes=[facts for _, facts in measured])


async def measure(corpus: Corpus, size: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the rows of one size, and what else was seen."""
    folder = RESULTS / "retrieval" / str(size)
    facts: dict[str, Any] = {"passages": size}
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        async with running(corpus, folder) as one:
            facts["load_s"] = await load(one, corpus, size)
            facts["load_late"] = await one.late()
        (folder / "complete").touch()
    async with running(corpus, folder, _LINGER_S) as one:
        facts["serving_s"] = one.serving_s
        rows = [{"passages": size, "callers": 1, **await alone(one, corpus, name)} for name in _MODES]
        for callers in _CALLERS:
            rows.append({"passages": size, "callers": callers, **await together(one, corpus, callers)})
        facts["memory_mib"] = one.memory_mib()
    async with running(corpus, folder) as one:
        facts["restart_s"] = one.serving_s
    print(
        f"{size:,} passages: SERVING {facts['serving_s']:.1f} s after the start and {facts['restart_s']:.1f} s after a restart, {facts['memory_mib']} MiB"
    )
    return rows, facts


@asynccontextmanager
async def running(corpus: Corpus, folder: Path, linger_s: float = 0.0) -> AsyncIterator[Running]:
    """Run a Redis, an embedder and a retriever over a folder; its engine outlives it by `linger_s`."""
    async with AsyncExitStack() as stack:
        redis_url = stack.enter_context(running_redis(folder / "redis"))
        embedder_port = await stack.enter_async_context(embedder(AtOnce(corpus)))
        [port] = free_ports(1)
        variables = child_environment(
            RAG_DATA_DIR=str(folder / "data"), REDIS_URL=redis_url, EMBEDDER_ADDRESS=f"127.0.0.1:{embedder_port}",
            RETRIEVER_PORT=str(port), RETRIEVER_METRICS_PORT="0", RETRIEVER_LAME_DUCK_MS="0",
            RETRIEVER_ENGINE_LINGER_S=str(linger_s),
        )  # fmt: skip
        began = time.perf_counter()
        with (folder / "log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bench.watched_retriever", str(folder / "late.json"), env=variables, stderr=log, stdout=log
            )  # fmt: skip
        stack.push_async_callback(_end, process)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
        await _until_serving(channel, process)
        serving_s = time.perf_counter() - began
        yield Running(RetrieverServiceStub(channel), process, folder, serving_s)


async def load(one: Running, corpus: Corpus, size: int) -> float:
    """Index the documents; return the seconds it took."""
    began = time.perf_counter()
    documents = range(size // PER_DOCUMENT)
    for number in documents:
        call = one.stub.Index(corpus.document(number), metadata=of(tenant_of(number)), timeout=300)
        async for _ in call:
            pass
        if number % 50 == 49:
            print(f"  {PER_DOCUMENT * (number + 1):,} of {size:,} passages loaded", flush=True)
    return time.perf_counter() - began


async def alone(one: Running, corpus: Corpus, mode: str) -> dict[str, Any]:
    """Return the times of one caller who asks one query after the other."""
    for number in range(10):
        await ask(one, corpus.query(-1 - number), mode)
    await one.late()
    began, busy = time.perf_counter(), one.busy_ms()
    answers = [await ask(one, corpus.query(number), mode) for number in range(_ALONE)]
    return await _row(one, mode, answers, time.perf_counter() - began, busy)


async def together(one: Running, corpus: Corpus, callers: int) -> dict[str, Any]:
    """Return the times of some callers at once."""
    answers: list[tuple[float, float]] = []
    numbers = itertools.count(10_000)
    await one.late()
    began, busy = time.perf_counter(), one.busy_ms()

    async def caller() -> None:
        while time.perf_counter() - began < _CALLERS_S:
            answers.append(await ask(one, corpus.query(next(numbers)), "hybrid"))

    await asyncio.gather(*(caller() for _ in range(callers)))
    return await _row(one, "hybrid", answers, time.perf_counter() - began, busy)


async def ask(one: Running, query: str, mode: str) -> tuple[float, float]:
    """Return the ms in the index and the ms that the caller waited."""
    request = pb.RetrieveRequest(query=query, mode=_MODES[mode], use_cache=False, rerank=False)
    began = time.perf_counter()
    events = [event async for event in one.stub.Retrieve(request, metadata=of(BIG), timeout=60)]
    took_ms = (time.perf_counter() - began) * 1000
    summary = events[-1].summary
    assert summary.hits
    assert not summary.notices, summary.notices
    return summary.search_ms, took_ms


async def _row(
    one: Running, mode: str, answers: list[tuple[float, float]], seconds: float, busy: tuple[float, float]
) -> dict[str, Any]:
    inside, outside = (np.array(column) for column in zip(*answers, strict=True))
    own_ms, engine_ms = ((now - then) / len(answers) for now, then in zip(one.busy_ms(), busy, strict=True))
    late = await one.late()
    return {
        "mode": mode,
        **{f"search p{rank}": round(float(np.percentile(inside, rank)), 1) for rank in (50, 95, 99)},
        **{f"call p{rank}": round(float(np.percentile(outside, rank)), 1) for rank in (50, 95)},
        "queries/s": round(len(answers) / seconds, 1),
        "busy": round(own_ms, 1),
        "engine busy": round(engine_ms, 1),
        "late p99": round(late["p99_ms"], 1),
        "late max": round(late["max_ms"], 1),
    }


def _busy_ms(process: psutil.Process) -> float:
    times = process.cpu_times()
    return 1000.0 * (times.user + times.system)


async def _until_serving(channel: grpc.aio.Channel, process: asyncio.subprocess.Process) -> None:
    stub = health_pb2_grpc.HealthStub(channel)

    async def serves() -> bool:
        assert process.returncode is None, "the retriever ended; its log says why"
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=_SERVICE), timeout=1, wait_for_ready=True)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    await until(serves, _START_LIMIT_S)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    await process.wait()


if __name__ == "__main__":
    main()
