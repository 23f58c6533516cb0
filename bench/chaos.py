"""`make chaos-ingest KILLS=60 [SEED=...]`: processes are killed at random while documents come, change and go.

Prints its seed; the same seed plays the same victims, pauses and documents again. Exit 1 when anything was lost, half visible,
doubled or left over, or when nothing was killed.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import redis as sync_redis

from bench.report import finish
from rag.ids import new_id
from rag.runtime.tasks import beside, together
from tests.chaos.client import client_of
from tests.chaos.mesh import ENGINE, REDIS, SERVICES, Mesh, running_mesh
from tests.chaos.workload import Findings, Workload

VICTIMS = (*SERVICES, ENGINE, REDIS)
_MOST_PAUSE_S = 3.0
_OPERATE_EVERY_S = 0.4
_LOOK_EVERY_S = 0.05
_SWEEP_S = 120.0
_SETTINGS = {"INGESTOR_RECONCILE_S": "10"}


def main() -> None:
    """Run, print what was found, exit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=60, help="how many processes are killed (default 60)")
    parser.add_argument("--seed", type=int, default=None, help="the seed of an earlier run")
    parser.add_argument("--documents", type=int, default=25, help="how many documents there are (default 25)")
    options = parser.parse_args()
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    print(f"seed {seed}: `make chaos-ingest KILLS={options.kills} SEED={seed}` plays it again", flush=True)
    began = time.monotonic()
    killed, work = asyncio.run(run(options.kills, seed, options.documents))
    found = work.findings
    row = {"kills": sum(killed.values()), "operations": work.operations, "searches": work.searches, **found.counts()}
    for kind in Findings.__slots__:
        for line in getattr(found, kind)[:20]:
            print(f"{kind}: {line}", file=sys.stderr)
    failed = any(found.counts().values()) or not killed
    finish("chaos-ingest", [row], failed=failed, seed=seed, killed=killed, seconds=time.monotonic() - began)


async def run(kills: int, seed: int, documents: int) -> tuple[Counter[str], Workload]:
    """Play one run; return who was killed how often, and what the users saw."""
    with tempfile.TemporaryDirectory(prefix="rag") as folder, running_mesh(Path(folder), **_SETTINGS) as mesh:
        async with client_of(mesh, new_id("tenant")) as client:
            work = Workload(client, random.Random(f"{seed}/documents"), documents)
            killer = Killer(mesh, random.Random(f"{seed}/kills"))
            users = together(
                _again(work.operate, _OPERATE_EVERY_S),
                _again(work.operate, _OPERATE_EVERY_S),
                _again(work.look, _LOOK_EVERY_S),
            )
            await beside(killer.kill_all(kills), _endless(users))
            await beside(work.settle(), _again(work.look, _LOOK_EVERY_S))
            work.findings.leftovers.extend(await swept(mesh, client.tenant))
        return killer.killed, work


class Killer:
    """Kills and restarts, one victim after the other, as the seed has it."""

    def __init__(self, mesh: Mesh, rng: random.Random) -> None:
        self.killed: Counter[str] = Counter()
        self._mesh = mesh
        self._rng = rng

    async def kill_all(self, kills: int) -> None:
        """Kill so many."""
        for number in range(kills):
            victim, pause_s = self._rng.choice(VICTIMS), self._rng.uniform(0.2, _MOST_PAUSE_S)
            await asyncio.sleep(pause_s)  # the moment is what the seed decides: nothing is waited for
            print(f"kill {number + 1}/{kills}: {victim}", flush=True)
            await asyncio.to_thread(self._kill, victim)
            self.killed[victim] += 1

    def _kill(self, victim: str) -> None:
        self._mesh.kill(victim)
        if victim != ENGINE:  # the retriever brings its engine back itself
            self._mesh.start(victim)


async def _again(act: Callable[[], Awaitable[None]], pause_s: float) -> None:
    while True:
        await act()
        await asyncio.sleep(pause_s)


async def _endless(users: Awaitable[object]) -> None:
    await users


async def swept(mesh: Mesh, tenant: str) -> list[str]:
    """What is still left over after as much time as sweeping may take."""
    end = time.monotonic() + _SWEEP_S
    while (left := leftovers(mesh, tenant)) and time.monotonic() < end:
        await asyncio.sleep(1.0)
    return left


def leftovers(mesh: Mesh, tenant: str) -> list[str]:
    """Uploads of finished jobs, and erasures that are still to be done."""
    blobs = [str(path) for path in (mesh.folder / "blobs" / tenant).rglob("*") if path.is_file()]
    with sync_redis.Redis.from_url(mesh.redis_url) as client:
        due = [member.decode() for key in ("rag:deletions", "rag:erasures") for member in client.zrange(key, 0, -1)]
    return blobs + due


if __name__ == "__main__":
    main()
