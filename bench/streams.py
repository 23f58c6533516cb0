"""A client that reads event streams with as little work of its own as can be, and notes when what came."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

TOKEN = b" tok0"
_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Target:
    """Something that streams: where it listens, and what a question to it looks like."""

    name: str
    port: int
    path: str
    body: Callable[[str], dict[str, Any]]
    first_event: bytes
    first_token: bytes
    last: bytes


@dataclass(slots=True)
class Timing:
    """One answer: milliseconds from the request to its first event, its first token, its end; how many tokens came."""

    first_event_ms: float = 0.0
    first_token_ms: float = 0.0
    total_ms: float = 0.0
    tokens: int = 0
    body: bytes = b""


@dataclass(slots=True)
class Level:
    """All answers of so many streams at a time."""

    seconds: float
    timings: list[Timing] = field(default_factory=list)

    @property
    def tokens_per_s(self) -> float:
        """How many tokens arrived in a second, over all streams."""
        return sum(timing.tokens for timing in self.timings) / self.seconds


class Connection:
    """One HTTP connection that is used again."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._pair: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, question: str) -> Timing:
        """Ask, read to the end.

        Raises:
            RuntimeError: when the answer is cut, or none.
        """
        if self._pair is None:
            self._pair = await asyncio.open_connection("127.0.0.1", self._target.port, limit=2**20)
        reader, writer = self._pair
        body = json.dumps(self._target.body(question)).encode()
        head = f"POST {self._target.path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        began = time.perf_counter()
        writer.write(f"{head}accept: text/event-stream\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        timing = await self._read(reader, began)
        timing.tokens = timing.body.count(TOKEN)
        return timing

    async def _read(self, reader: asyncio.StreamReader, began: float) -> Timing:
        timing, got = Timing(), bytearray()
        async with asyncio.timeout(_TIMEOUT_S):
            while not got.endswith(b"0\r\n\r\n"):
                part = await reader.read(65_536)
                now = (time.perf_counter() - began) * 1_000
                if not part:
                    raise RuntimeError(f"{self._target.name} closed the connection: {bytes(got[:300])!r}")
                got += part
                if not timing.first_event_ms and self._target.first_event in got:
                    timing.first_event_ms = now
                if not timing.first_token_ms and self._target.first_token in got:
                    timing.first_token_ms = now
        timing.total_ms, timing.body = now, bytes(got)
        if self._target.last not in got:
            raise RuntimeError(f"{self._target.name} cut the answer: {bytes(got[-300:])!r}")
        return timing

    def close(self) -> None:
        """Close the connection."""
        if self._pair:
            self._pair[1].close()


async def load(target: Target, streams: int, answers: int, name: str, spread_s: float = 0.0) -> Level:
    """Read so many answers over so many streams at once, each with a question of its own.

    Args:
        target: What is asked.
        streams: How many at once.
        answers: How many in all.
        name: Makes the questions different from those of other calls.
        spread_s: The streams begin over so many seconds, as readers come, and not in one moment.
    """
    questions = iter(f"{name} {number}: what is to be done?" for number in range(answers))
    timings: list[Timing] = []

    async def work(connection: Connection, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        for question in questions:
            timings.append(await connection.ask(question))

    connections = [Connection(target) for _ in range(streams)]
    began = time.perf_counter()
    try:
        async with asyncio.TaskGroup() as group:
            for number, connection in enumerate(connections):
                group.create_task(work(connection, spread_s * number / streams))
        return Level(time.perf_counter() - began, timings)
    finally:
        for connection in connections:
            connection.close()


def percentiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the 50th, 95th and 99th percentile."""
    ordered = sorted(values)
    return tuple(ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.95, 0.99))  # type: ignore[return-value]
