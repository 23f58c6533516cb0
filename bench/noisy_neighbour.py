"""`make bench-noisy`: what one tenant at ten times its limit costs another.

Real gateway, generator and embedder, each a process of its own, with a Redis; the model is the double, and the search answers at once. A
quiet tenant asks at a steady pace, a question and an embedding by turns: alone, then beside one that keeps to its limit, then beside one
that asks ten times as much. By turns in every round, open loop: a call is sent when its time has come, and its time counts from
there. A burst may be one second's calls: what a tenant may do at once, it may do to the others too. Exit 1 when a call of the quiet tenant fails or the other one is refused without being told when to come back.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import jwt

from bench.report import finish
from bench.stream_targets import Ports, environment, modules, running
from bench.streams import percentiles
from rag.cli.own_services import free_ports
from tests.doubles.fixtures import ModelServer, starting_model_server
from tests.redis_server import running_redis
from tests.waiting import until

_GOAL = 0.2
_START_S = 120.0
_WORDS = 40
_WARM_UP_S = 5.0
_ISSUER = "bench"
_MANY = httpx.Limits(max_connections=500, max_keepalive_connections=500)


@dataclass(slots=True)
class Load:
    """What became of the calls of one tenant."""

    ms: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    untold: int = 0
    """Refusals that do not say when to come back."""


@dataclass(frozen=True, slots=True)
class Door:
    """The gateway, and who calls."""

    http: httpx.AsyncClient
    secret: str
    tokens: dict[str, str] = field(default_factory=dict)
    numbers: Any = field(default_factory=count)

    async def call(self, tenant: str, load: Load) -> None:
        """Ask a question or for an embedding, by turns."""
        number, due = next(self.numbers), time.perf_counter()
        asked: tuple[str, dict[str, Any]] = (
            "/v1/query",
            {"question": f"What to do when part {number} fails?", "use_cache": False},
        )
        if number % 2:
            asked = ("/v1/embeddings", {"model": "all-MiniLM-L6-v2", "input": f"part {number} of the machine fails"})
        answer = await self.http.post(
            asked[0], json=asked[1], headers={"authorization": f"Bearer {self.token(tenant)}"}
        )
        load.statuses[answer.status_code] += 1
        if answer.status_code == httpx.codes.OK:
            load.ms.append((time.perf_counter() - due) * 1_000)
        elif "retry-after" not in answer.headers:
            load.untold += 1

    async def pace(self, tenant: str, per_s: float, seconds: float) -> Load:
        """Call at a pace, whether or not the calls before have ended."""
        load, begun = Load(), time.perf_counter()
        calls: set[asyncio.Task[None]] = set()
        for number in range(int(per_s * seconds)):
            await asyncio.sleep(max(0.0, begun + number / per_s - time.perf_counter()))
            calls.add(asyncio.create_task(self.call(tenant, load)))
        await asyncio.gather(*calls)
        return load

    def token(self, tenant: str) -> str:
        """Return a token of a tenant."""
        if tenant not in self.tokens:
            now = int(time.time())
            claims = {"iss": _ISSUER, "aud": _ISSUER, "sub": "caller", "iat": now, "exp": now + 3_600}
            self.tokens[tenant] = jwt.encode({**claims, "tenant": tenant, "scope": "query"}, self.secret, "HS256")
        return self.tokens[tenant]

    async def shout(self, tenant: str, per_s: float, seconds: float) -> Load:
        """Call at a pace from another process, so that the quiet caller's own clock is not held up."""
        command = ["-m", "bench.noisy_neighbour", "--shout", str(self.http.base_url), tenant, str(per_s), str(seconds)]
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, self.token(tenant), stdout=asyncio.subprocess.PIPE
        )
        said, _ = await process.communicate()
        ms, statuses, untold = json.loads(said)
        return Load(ms, Counter({int(status): times for status, times in statuses.items()}), untold)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15.0, help="how long each part of a round takes (15)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured, by turns (3)")
    parser.add_argument("--limit", type=int, default=600, help="calls a minute that a tenant may make (600)")
    parser.add_argument("--shout", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    asyncio.run(_shout(*options.shout) if options.shout else _measure(options))


async def _shout(url: str, tenant: str, per_s: str, seconds: str, token: str) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=_MANY) as http:
        load = await Door(http, "", {tenant: token}).pace(tenant, float(per_s), float(seconds))
    print(json.dumps([load.ms, load.statuses, load.untold]))


async def _measure(options: argparse.Namespace) -> None:
    per_s, ways = (
        options.limit / 60,
        {"alone": 0, "beside one at its limit": 1, "beside one at ten times its limit": 10},
    )
    quiet: dict[str, Load] = {way: Load() for way in ways}
    noisy: dict[str, Load] = {way: Load() for way in ways}
    with tempfile.TemporaryDirectory(prefix="rag") as name, starting_model_server() as model:
        model.script(flood=_WORDS, times=None)
        async with _door(model, Path(name), options.limit) as door:
            await door.pace("warm-up", per_s / 2, _WARM_UP_S)
            for number in range(options.rounds):
                for way, times in ways.items():
                    # Names of its own in each part: what a limit had left is not carried over.
                    tenants = f"quiet-{number}-{times}", f"noisy-{number}-{times}"
                    loads = await asyncio.gather(
                        door.pace(tenants[0], per_s / 2, options.seconds),
                        door.shout(tenants[1], per_s * times, options.seconds if times else 0),
                    )
                    _add(quiet[way], loads[0])
                    _add(noisy[way], loads[1])
    _report(quiet, noisy, limit_per_minute=options.limit)


def _add(whole: Load, part: Load) -> None:
    whole.ms += part.ms
    whole.statuses += part.statuses
    whole.untold += part.untold


def _report(quiet: dict[str, Load], noisy: dict[str, Load], **facts: Any) -> None:
    found = {way: percentiles(load.ms or [math.nan]) for way, load in quiet.items()}
    alone, limited, loud = (late for _, late, _ in found.values())
    rows = [
        {
            "quiet tenant": way,
            "calls": sum(load.statuses.values()),
            "failed": sum(load.statuses.values()) - load.statuses[200],
            "p50 ms": found[way][0],
            "p95 ms": found[way][1],
            "p95 over alone %": (found[way][1] / alone - 1) * 100,
            "other: answered": noisy[way].statuses[200],
            "other: refused": noisy[way].statuses[429],
        }
        for way, load in quiet.items()
    ]
    moved = loud / limited - 1
    print(f"Ten times the limit moves the quiet tenant's p95 by {moved:+.0%} (goal: at most {_GOAL:+.0%}).")
    failed = any(row["failed"] for row in rows) or any(load.untold for load in noisy.values())
    finish("noisy-neighbour", rows, failed=failed, moved=moved, goal=_GOAL, **facts)


@asynccontextmanager
async def _door(model: ModelServer, folder: Path, limit: int) -> AsyncIterator[Door]:
    ports, (embedder,), secret = Ports(*free_ports(4)), free_ports(1), secrets.token_hex(32)
    with running_redis(folder) as redis_url:
        known = {
            **environment(ports, model, folder, redis_url),
            "EMBEDDER_ADDRESS": f"127.0.0.1:{embedder}",
            "EMBEDDER_PORT": str(embedder),
            "EMBEDDER_METRICS_PORT": "0",
            "GATEWAY_JWT_SECRET": secret,
            "GATEWAY_JWT_ISSUER": _ISSUER,
            "GATEWAY_JWT_AUDIENCE": _ISSUER,
            "GATEWAY_LIMIT_REQUESTS_PER_MINUTE": str(limit),
            "GATEWAY_LIMIT_BURST_REQUESTS": str(max(1, limit // 60)),
        }
        with running([*modules(ports), ["services.embedder"]], folder, known):
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports.http}", timeout=60, limits=_MANY) as http:
                await until(lambda: _is_ready(http), _START_S)
                yield Door(http, secret)


async def _is_ready(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/readyz")).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


if __name__ == "__main__":
    main()
