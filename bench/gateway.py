"""`make bench-gateway`: what the door costs.

Side by side in one run, by turns: a service called directly over gRPC, the same call through the gateway's gRPC port, and through its
REST port. Two calls: a small answer that the generator has in its cache (8 words, 17 events or so), and the description of one document.
Each service is a process of its own; there is no search and no model behind them, so nearly all of the time is that of the way. When
nginx is installed, the first token of an answer is timed through the shipped deploy/nginx/nginx.conf too.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import statistics
import tempfile
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from bench.gateway_calls import Call, Rest, Rpc
from bench.report import finish, show
from bench.stream_targets import Ports, services
from bench.streams import percentiles
from tests.deploy.nginx import find_nginx, running_nginx
from tests.doubles.fixtures import starting_model_server

_CALLERS = (1, 32)
_WORDS = 8
_WARM_UP = 20

Row = dict[str, Any]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--callers", type=int, nargs="+", default=_CALLERS, help="callers at a time (1 32)")
    parser.add_argument("--rounds", type=int, default=4, help="how often each is measured, by turns (4)")
    parser.add_argument("--calls", type=int, default=400, help="calls in a round (400)")
    asyncio.run(_measure(parser.parse_args()))


@dataclass(slots=True)
class _Found:
    """What the rounds of one way found."""

    rates: list[float] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)


async def _measure(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name, starting_model_server() as model:
        async with AsyncExitStack() as stack:
            model.script(flood=_WORDS, times=None)
            (Path(name) / "ragmesh").mkdir()
            ports = await stack.enter_async_context(services(model, Path(name, "ragmesh")))
            rows: list[Row] = []
            for what in ("GetDocument", "Generate, cached"):
                ways = await _ways(stack, what, ports)
                for callers in options.callers:
                    found = await _rounds(ways, callers, options)
                    rows += [_row(what, way, callers, found) for way in ways]
            show(
                "first token of a cached answer, one caller",
                front := await _through_nginx(stack, Path(name), ports, options),
            )
    finish("gateway", rows, nginx=front)


async def _ways(stack: AsyncExitStack, what: str, ports: Ports) -> Mapping[str, Call]:
    method = "GetDocument" if what == "GetDocument" else "Generate"
    direct = ports.retriever if method == "GetDocument" else ports.generator
    ways: dict[str, Call] = {
        "direct": Rpc(await _channel(stack, direct), method),
        "gRPC": Rpc(await _channel(stack, ports.gateway), method),
        "REST": Rest(ports.http, method),
    }
    for call in ways.values():
        stack.push_async_callback(call.close)
        for _ in range(_WARM_UP):
            await call.once()
    return ways


async def _channel(stack: AsyncExitStack, port: int) -> grpc.aio.Channel:
    return await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))


async def _rounds(ways: Mapping[str, Call], callers: int, options: argparse.Namespace) -> dict[str, _Found]:
    found = {way: _Found() for way in ways}
    for _ in range(options.rounds):
        for way, call in ways.items():
            await _round(call, callers, options.calls, found[way])
    return found


async def _round(call: Call, callers: int, calls: int, found: _Found) -> None:
    left = iter(range(calls))

    async def work() -> None:
        for _ in left:
            began = time.perf_counter()
            first = await call.once()
            now = time.perf_counter()
            found.ms.append((now - began) * 1_000)
            found.first_ms.append((first - began) * 1_000)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(work())
    found.rates.append(calls / (time.perf_counter() - began))


def _row(what: str, way: str, callers: int, found: Mapping[str, _Found]) -> Row:
    middle, late, _ = percentiles(found[way].ms)
    direct_middle, direct_late, _ = percentiles(found["direct"].ms)
    return {
        "call": what,
        "way": way,
        "callers": callers,
        "requests/s": statistics.median(found[way].rates),
        "p50 ms": middle,
        "p95 ms": late,
        "added p50 ms": middle - direct_middle,
        "added p95 ms": late - direct_late,
    }


async def _through_nginx(stack: AsyncExitStack, folder: Path, ports: Ports, options: argparse.Namespace) -> list[Row]:
    if not find_nginx():
        return [{"way": "nginx is not installed", "first token p50 ms": 0.0, "p95": 0.0, "over gateway ms": 0.0}]
    pair = (ports.http, ports.gateway)
    nginx = await stack.enter_async_context(running_nginx(folder, [pair, pair]))
    trust = ssl.create_default_context(cafile=str(nginx.authority_file))
    ways: dict[str, Call] = {"gateway": Rest(ports.http, "Generate"), "nginx, TLS": Rest(nginx.port, "Generate", trust)}
    for call in ways.values():
        stack.push_async_callback(call.close)
        await call.once()
    found = await _rounds(ways, 1, options)
    middle = percentiles(found["gateway"].first_ms)[0]
    rows: list[Row] = []
    for way in ways:
        first, late, _ = percentiles(found[way].first_ms)
        rows.append({"way": way, "first token p50 ms": first, "p95": late, "over gateway ms": first - middle})
    return rows


if __name__ == "__main__":
    main()
