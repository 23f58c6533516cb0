"""What readers of event streams cost that do not read: `make bench-slow-readers`.

A gateway, a generator that never stops, and many sockets with a small window: half of them never read, half take 1 KiB a second.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil

from bench.report import finish
from rag.cli.own_services import free_ports
from rag.runtime import logs
from rag.runtime.server import Mount, Room, serving
from rag.runtime.settings import ServiceSettings, child_environment
from rag.v1 import generator_pb2 as pb
from rag.v1 import generator_pb2_grpc
from tests.gateway.slow_reader import opened, sips
from tests.waiting import until

_TOKEN = "x" * 200
_KIB = 1024
_CUT_S = 30


class _Endless(generator_pb2_grpc.GeneratorServiceServicer):
    """Answers without end, as fast as it is read."""

    async def Generate(  # noqa: N802 - a name of the contract
        self, _request: pb.GenerateRequest, _context: Any
    ) -> AsyncIterator[pb.GenerateResponse]:
        sequence = 1
        yield pb.GenerateResponse(sequence=sequence, accepted=pb.Accepted(answer_id="ans_1"))
        while True:
            sequence += 1
            yield pb.GenerateResponse(sequence=sequence, token=pb.Token(text=_TOKEN))


@asynccontextmanager
async def _generator() -> AsyncIterator[int]:
    async def ready() -> bool:
        return True

    add = partial(generator_pb2_grpc.add_GeneratorServiceServicer_to_server, _Endless())
    room = Room("endless", [Mount("rag.v1.GeneratorService", add)], ready)
    settings = ServiceSettings(port=0, lame_duck_ms=0, drain_grace_ms=0, max_concurrent_calls=1_000)
    async with serving(settings, room) as port:
        yield port


@contextmanager
def _started(settings: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-m", "services.gateway"], env=settings) as process:
        try:
            yield process
        finally:
            process.terminate()


@asynccontextmanager
async def _gateway(generator: int, folder: Path) -> AsyncIterator[tuple[psutil.Process, int]]:
    grpc_port, http_port = free_ports(2)
    settings = child_environment(
        RAG_DATA_DIR=str(folder),
        RAG_LOG_LEVEL="ERROR",
        GENERATOR_ADDRESS=f"127.0.0.1:{generator}",
        GATEWAY_AUTH="off",
        GATEWAY_PORT=str(grpc_port),
        GATEWAY_HTTP_PORT=str(http_port),
        GATEWAY_LIMIT_STREAMS="0",
        GATEWAY_MAX_CONCURRENT_CALLS="1000",
        GATEWAY_SSE_SEND_TIMEOUT_S=str(_CUT_S),
        GATEWAY_QUERY_TIMEOUT_S="600",
    )
    with ExitStack() as stack:
        process = stack.enter_context(_started(settings))
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{http_port}") as http:

            async def lives() -> bool:
                with contextlib.suppress(httpx.HTTPError):
                    return (await http.get("/healthz")).status_code == 200
                return False

            await until(lives, 60)
        yield psutil.Process(process.pid), http_port


async def _sip(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        async for _ in sips(connection, 1.0):
            pass


def _queued(port: int) -> list[int]:
    """The bytes that the kernel holds for each connection of a port until the other side takes them."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    established = "01"
    own = [row for row in rows if int(row[1].rpartition(":")[2], 16) == port and row[3] == established]
    return [int(row[4].partition(":")[0], 16) for row in own]


def _row(after_s: int, before: int, process: psutil.Process, port: int, readers: int) -> dict[str, float]:
    grown, queued = process.memory_info().rss - before, _queued(port)
    return {
        "after s": after_s,
        "connections": len(queued),
        "RSS KiB a reader": grown / readers / _KIB,
        "in the kernel KiB each": sum(queued) / max(len(queued), 1) / _KIB,
        "at most": max(queued, default=0) / _KIB,
        "open files": process.num_fds(),
    }


async def measure(count: int, seconds: Sequence[int]) -> list[dict[str, float]]:
    """Open so many readers of each kind, and return what they hold after so many seconds."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="rag") as folder:
        async with _generator() as generator, _gateway(generator, Path(folder)) as (process, port):
            warm = await opened(port)
            await asyncio.sleep(1)
            warm.close()
            before = process.memory_info().rss
            readers = [await opened(port) for _ in range(2 * count)]
            sipping = [asyncio.create_task(_sip(one)) for one in readers[count:]]
            passed = 0
            for moment in seconds:
                await asyncio.sleep(moment - passed)
                passed = moment
                rows.append(_row(moment, before, process, port, 2 * count))
            for task in sipping:
                task.cancel()
            await asyncio.gather(*sipping, return_exceptions=True)
            for one in readers:
                one.close()
    return rows


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    logs.configure("bench", "console", "CRITICAL")
    parser.add_argument("--readers", type=int, default=100, help="How many of each kind.")
    finish("slow-readers", asyncio.run(measure(parser.parse_args().readers, (5, 15, 25, _CUT_S + 15))))


if __name__ == "__main__":
    main()
