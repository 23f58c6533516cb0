"""The retriever as a process that also watches its event loop: `python -m bench.watched_retriever FILE`.

At each SIGUSR1 it writes to FILE how late the loop was since the last one, in ms, and begins anew.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from rag.runtime.server import Room, run
from services.retriever.settings import RetrieverSettings
from services.retriever.wiring import wire

_SLEEP_S = 0.002


@asynccontextmanager
async def _wire(settings: RetrieverSettings) -> AsyncIterator[Room]:
    async with wire(settings) as room:
        yield replace(room, background=[*room.background, _watch])


async def _watch() -> None:
    late: list[float] = []

    def tell() -> None:
        ordered = sorted(late) or [0.0]
        figures = {"p99_ms": ordered[int(len(ordered) * 0.99)], "max_ms": ordered[-1], "samples": len(late)}
        late.clear()
        target = Path(sys.argv[1])
        target.with_suffix(".new").write_text(json.dumps(figures))
        target.with_suffix(".new").rename(target)

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, tell)
    while True:
        began = time.perf_counter()
        await asyncio.sleep(_SLEEP_S)
        late.append((time.perf_counter() - began - _SLEEP_S) * 1000)


if __name__ == "__main__":
    run(RetrieverSettings, _wire, spawns=True)
