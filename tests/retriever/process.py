"""The retriever as a process of its own, to be killed."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

from rag.cli.own_services import free_ports
from rag.runtime.settings import child_environment
from rag.v1.retriever_pb2_grpc import RetrieverServiceStub
from tests.retriever.room import generator, runs
from tests.waiting import until
from tests.warm import WarmProcess

Started = tuple[WarmProcess, psutil.Process, RetrieverServiceStub]


async def started(
    folder: Path, redis_url: str, embedder_port: int, stack: AsyncExitStack, **environment: str
) -> Started:
    """Run the retriever as a process, beside a generator of its own; returns it, its engine and a stub once it serves."""
    environment.setdefault("GENERATOR_ADDRESS", await stack.enter_async_context(generator()))
    variables = child_environment(
        RAG_DATA_DIR=str(folder),
        REDIS_URL=redis_url,
        EMBEDDER_ADDRESS=f"127.0.0.1:{embedder_port}",
        RETRIEVER_PORT=(port := str(free_ports(1)[0])),
        RETRIEVER_METRICS_PORT="0",
        RETRIEVER_LAME_DUCK_MS="0",
        **{"RETRIEVER_SWEEP_PAUSE_S": "0.2", "RETRIEVER_ENGINE_LINGER_S": "0", **environment},
    )
    process = WarmProcess("retriever", variables, folder / "log")
    stack.push_async_callback(_end, process)
    channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
    stub = RetrieverServiceStub(channel)

    health = health_pb2_grpc.HealthStub(channel)

    async def serves() -> bool:
        try:
            answer = await health.Check(health_pb2.HealthCheckRequest(service="rag.v1.RetrieverService"), timeout=1)
        except grpc.aio.AioRpcError:
            return False
        return answer.status == health_pb2.HealthCheckResponse.SERVING

    await until(serves)
    return process, engine_of(folder), stub


def engine_of(folder: Path) -> psutil.Process:
    """The engine over a folder; it need not be below the retriever that uses it."""
    database = str(folder / "milvus" / "ragmesh.db")
    return next(one for one in psutil.process_iter() if runs(one, database))


async def _end(process: WarmProcess) -> None:
    process.kill()
    await process.ended()
