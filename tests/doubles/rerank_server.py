"""A reranker for tests: real HTTP, as text-embeddings-inference or Cohere and Jina speak it, which can be told to misbehave.

It likes a text the more, the more of the query's letters `z` it has: so the order is not that of any search.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

Answer = Callable[[list[float]], Any]


def tei(scores: list[float]) -> Any:
    return [{"index": at, "score": score} for at, score in sorted(enumerate(scores), key=lambda pair: -pair[1])]


def cohere(scores: list[float]) -> Any:
    results = [{"index": at, "relevance_score": score} for at, score in enumerate(scores)]
    return {"id": "x", "results": sorted(results, key=lambda entry: -entry["relevance_score"])}


@dataclass
class RerankServer:
    """What the server does with the next requests, and the requests that it got."""

    url: str = ""
    answer: Answer = tei
    status: int = 200
    body: bytes | None = None
    """Sent in place of an answer."""
    hangs: bool = False
    breaks_off: bool = False
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def reply(self, body: dict[str, Any]) -> bytes:
        if self.body is not None:
            return self.body
        texts = body.get("texts", body.get("documents"))
        return json.dumps(self.answer([text.count("z") / 100 for text in texts])).encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await self._serve_one(reader, writer)
        writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        self.headers.append(headers)
        self.requests.append(body)
        if self.hangs:
            await reader.read()
            return
        reply = self.reply(body)
        length = len(reply) + (10 if self.breaks_off else 0)
        writer.write(f"HTTP/1.1 {self.status} X\r\ncontent-length: {length}\r\n\r\n".encode() + reply)
        await writer.drain()
        if self.breaks_off:
            writer.close()


@asynccontextmanager
async def rerank_server(**behaviour: Any) -> AsyncIterator[RerankServer]:
    """Run one for the length of a block."""
    double = RerankServer(**behaviour)
    server = await asyncio.start_server(double.serve, "127.0.0.1", 0)
    double.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/rerank"
    try:
        yield double
    finally:
        server.close()
