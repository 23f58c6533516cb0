"""`make bench-leaving`: readers leave abruptly while an answer waits for the model, streams, or is blocked because they do not read.

For each, how long until the model's server sees its connection closed, and what is left in the services: tasks, open files.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
from typing import Any

import uvloop

from bench.report import finish
from tests.doubles.fixtures import starting_model_server
from tests.generator.leaving import DOORS, STATES, Mesh, leave_many, mesh, open_files
from tests.generator.making import GRASS, SKY, FakeRetriever, found, serving_retriever
from tests.waiting import until

_AT_ONCE = 10
_LIMIT_S = 1.0


def main() -> None:
    """Measure and report; exit 1 when a model went on for longer than a second, or something is left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exits", type=int, default=200, help="how many readers leave, over all states (200)")
    rows = uvloop.run(_measure(parser.parse_args().exits))
    late = any(row["slowest ms"] > 1_000 * _LIMIT_S for row in rows)
    finish("leaving", rows, failed=late or any(row["tasks left"] > 0 or row["files left"] > 0 for row in rows))


async def _measure(exits: int) -> list[dict[str, Any]]:
    retriever = FakeRetriever()
    retriever.responses = found(SKY, GRASS)
    ways = [(state, door) for state in STATES for door in DOORS]
    with starting_model_server() as model:
        async with serving_retriever(retriever) as address, mesh(address, model) as at:
            for state, door in ways:
                await leave_many(at, state, door, _AT_ONCE)
            return [await _leave(at, state, door, -(-exits // len(ways))) for state, door in ways]


async def _leave(at: Mesh, state: str, door: str, exits: int) -> dict[str, Any]:
    tasks, files = len(asyncio.all_tasks()), open_files()
    seconds: list[float] = []
    while len(seconds) < exits:
        seconds += await leave_many(at, state, door, min(_AT_ONCE, exits - len(seconds)))
    left_tasks = await _left(lambda: len(asyncio.all_tasks()) - tasks)
    left_files = await _left(lambda: open_files() - files)
    ordered = sorted(seconds)
    return {
        "state": state,
        "door": door,
        "exits": len(ordered),
        "median ms": 1_000 * ordered[len(ordered) // 2],
        "slowest ms": 1_000 * ordered[-1],
        "tasks left": left_tasks,
        "files left": left_files,
    }


async def _left(count: Any) -> int:
    """Return how many are left once what is closing had its time."""
    gc.collect()
    try:
        await until(lambda: count() <= 0, 5)
    except AssertionError:
        return int(count())
    return 0


if __name__ == "__main__":
    main()
