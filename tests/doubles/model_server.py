"""An OpenAI-compatible server for tests: real HTTP, a process of its own, scripted by `POST /control`.

`python -m tests.doubles.model_server --port 0` prints `listening PORT`, and serves until killed or until its standard
input closes when `--with-stdin` is given. It speaks raw asyncio, because a framework cannot reset a connection.

For crash tests, behind a real embedder (`EMBEDDER_PROVIDER=openai OPENAI_BASE_URL=http://127.0.0.1:PORT/v1`):

- `GET /counts` answers `{"texts": {text: times}, "requests": n, "refused": n}`: how often each text was embedded and
  answered, in how many requests, and how many requests were refused. An embedder asks "Are you there?" at each start, and
  "How long is a vector?" unless `EMBEDDER_OPENAI_DIMENSION=384`: leave these two out.
- `POST /control {...}` adds a behaviour, the first that fits a request counts (fields: `Behaviour` in model_replies):
  `{"path": "embeddings", "status": 429, "retry_after": "2", "for_s": 5}` refuses for five seconds;
  `{"path": "embeddings", "most_texts": 16, "times": null}` answers 413 to more texts, `most_tokens` to more words;
  `{"path": "embeddings", "status": 500, "times": 3}` fails three times; `{"path": "embeddings", "hang": true}` hangs
  once; `{"path": "embeddings", "first_delay_ms": 200, "times": null}` makes every answer slow.
- `DELETE /control` forgets behaviours and received requests, and the counts.

The fixture `model_server` starts one for the session; `starting_model_server` in fixtures.py starts one wherever.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import socket
import struct
import sys
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import uvloop

from tests.doubles import model_replies as replies


@dataclasses.dataclass(slots=True)
class Seen:
    """One request as it was received, and what became of it."""

    index: int
    path: str
    headers: dict[str, str]
    body: Any
    connection: int  # the client's port
    chunks: int = 0
    finished: bool = False
    disconnected: bool = False


class LeftError(Exception):
    """The client closed the connection."""


class Connection(asyncio.StreamReaderProtocol):
    """Notices at once when the client leaves, also while nothing is read."""

    def __init__(self, server: Server) -> None:
        super().__init__(asyncio.StreamReader(limit=2**24), lambda r, w: server.serve(r, w, self.gone))
        self.gone = asyncio.Event()

    def eof_received(self) -> bool:
        self.gone.set()
        super().eof_received()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()
        super().connection_lost(exc)


class Exchange:
    """The answer to one request."""

    def __init__(self, writer: asyncio.StreamWriter, gone: asyncio.Event, seen: Seen) -> None:
        self.writer, self.gone, self.seen = writer, gone, seen

    async def pause(self, ms: float | None) -> None:
        """Waits so many milliseconds, for ever with None, and raises LeftError when the client leaves meanwhile."""
        if ms == 0 and not self.gone.is_set():
            return
        try:
            await asyncio.wait_for(self.gone.wait(), None if ms is None else ms / 1000)
        except TimeoutError:
            return
        raise LeftError

    def head(self, status: int, kind: str, *more: str) -> None:
        if self.gone.is_set():
            raise LeftError
        lines = [f"HTTP/1.1 {status} X", f"content-type: {kind}", *more, "", ""]
        self.writer.write("\r\n".join(lines).encode())

    def json(self, value: Any, status: int = 200, *more: str) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.head(status, "application/json", f"content-length: {len(body)}", *more)
        self.writer.write(body)

    async def event(self, data: str) -> None:
        if self.gone.is_set():
            raise LeftError
        self.writer.write(replies.chunked(data))
        await self.writer.drain()
        self.seen.chunks += 1

    async def flood(self, writes: list[bytes], end: bytes, delay_s: float) -> None:
        for write in writes:
            if self.gone.is_set():
                raise LeftError
            self.writer.write(write)
            await self.writer.drain()
            await asyncio.sleep(delay_s)  # other streams are served in between, as a real server would
            self.seen.chunks += 1
        self.writer.write(end)

    def reset(self) -> None:
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        raise LeftError


class Server:
    def __init__(self) -> None:
        self.scripts: list[replies.Behaviour] = []
        self.seen: list[Seen] = []
        self.ends: dict[int, float] = {}
        self.counts: Counter[str] = Counter()
        self.answered = self.refused = 0
        self.changed = asyncio.Condition()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gone: asyncio.Event) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                method, target, headers = _parse(head)
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                parsed = json.loads(body) if body else None
                seen = Seen(len(self.seen), target, headers, parsed, writer.get_extra_info("peername")[1])
                await self.route(method, Exchange(writer, gone, seen))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, LeftError):
            pass
        finally:
            writer.close()

    async def route(self, method: str, exchange: Exchange) -> None:
        seen = exchange.seen
        if seen.path.startswith("/control"):
            await self.control(method, exchange)
            return
        if seen.path == "/counts":
            exchange.json({"texts": self.counts, "requests": self.answered, "refused": self.refused})
            return
        self.seen.append(seen)
        await self.tell()
        try:
            await self.answer(exchange, self.behaviour(seen.path))
            seen.finished = True
        except (LeftError, ConnectionError):
            seen.disconnected = exchange.gone.is_set()
            raise LeftError from None
        finally:
            await self.tell()

    async def tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    def behaviour(self, target: str) -> replies.Behaviour:
        now = asyncio.get_running_loop().time()
        self.scripts = [script for script in self.scripts if self.ends.get(id(script), now) >= now]
        for script in self.scripts:
            if target.endswith(script.path):
                if script.times is not None and script.for_s is None:
                    script.times -= 1
                    self.scripts = [s for s in self.scripts if s.times != 0]
                return script
        return replies.Behaviour()

    async def control(self, method: str, exchange: Exchange) -> None:
        """POST /control adds a script, DELETE forgets all; POST /control/wait {index, state} answers when it holds."""
        target, body = exchange.seen.path, exchange.seen.body
        if method == "DELETE":
            self.scripts, self.seen, self.ends = [], [], {}
            self.counts.clear()
            self.answered = self.refused = 0
        elif target == "/control" and method == "POST":
            self.scripts.append(script := replies.Behaviour(**body))
            if script.for_s is not None:
                self.ends[id(script)] = asyncio.get_running_loop().time() + script.for_s
        elif target == "/control/wait":
            async with self.changed:
                await self.changed.wait_for(lambda: self.holds(**body))
        exchange.json([dataclasses.asdict(seen) for seen in self.seen])

    def holds(self, index: int, state: str, chunks: int = 0) -> bool:
        if index >= len(self.seen):
            return False
        seen = self.seen[index]
        return state == "received" or bool(getattr(seen, state)) or (state == "chunks" and seen.chunks >= chunks)

    async def answer(self, exchange: Exchange, script: replies.Behaviour) -> None:
        await exchange.pause(None if script.hang else script.first_delay_ms)
        body, path = exchange.seen.body, exchange.seen.path
        if script.status != 200:
            self.refused += 1
            more = [f"retry-after: {script.retry_after}"] if script.retry_after else []
            said = f"{exchange.seen.headers.get('authorization')} {json.dumps(body)}" if script.echo else "scripted"
            exchange.json({"error": {"message": said, "code": script.error_code}}, script.status, *more)
        elif path.endswith("/models"):
            exchange.json({"object": "list", "data": [{"id": replies.MODEL, "object": "model", "owned_by": "tests"}]})
        elif path.endswith("/embeddings"):
            self.embed(exchange, script)
        elif path.endswith("/chat/completions") and body.get("stream"):
            await self.stream(exchange, script)
        elif path.endswith("/chat/completions"):
            exchange.json(b'{"choices": [' if script.malformed else replies.completion(body, script))
        else:
            exchange.json({"error": {"message": "no such path"}}, 404)

    def embed(self, exchange: Exchange, script: replies.Behaviour) -> None:
        body = exchange.seen.body
        if replies.is_too_large(body, script):
            self.refused += 1
            exchange.json({"error": {"message": "scripted", "code": script.error_code}}, 413)
            return
        if script.malformed:
            exchange.json(b'{"data": [')
            return
        self.counts.update(replies.texts_of(body))
        self.answered += 1
        exchange.json(replies.embeddings(body, script))

    async def stream(self, exchange: Exchange, script: replies.Behaviour) -> None:
        exchange.head(200, "text/event-stream", "transfer-encoding: chunked")
        if script.flood:
            await exchange.flood(*replies.flood(script.flood), script.delay_ms / 1_000)
        else:
            await self.events(exchange, script)
        exchange.writer.write(b"0\r\n\r\n")

    async def events(self, exchange: Exchange, script: replies.Behaviour) -> None:
        async for data in _events(exchange, script):
            await exchange.event(data)
            await self.tell()


async def _events(exchange: Exchange, script: replies.Behaviour) -> AsyncIterator[str]:
    body = exchange.seen.body
    pieces = replies.pieces(body, script)
    for position, piece in enumerate([*pieces, None]):
        if script.hang_after == position:
            await exchange.pause(None)
        if script.reset_after == position:
            exchange.reset()
        if script.end_after == position:
            return
        if script.error_after == position:
            yield json.dumps({"error": {"message": "scripted", "type": "server_error"}})
            return
        if script.malformed and script.after == position:
            yield '{"choices": ['
        if piece is not None:
            yield replies.chunk({"content": piece} if position else {"role": "assistant", "content": piece}, None)
            await exchange.pause(script.delay_ms)
    if script.finish_reason is not None:
        yield replies.chunk({}, script.finish_reason)
    if script.hang_at_end:
        await exchange.pause(None)
    if script.reset_at_end:
        await exchange.pause(script.delay_ms)
        exchange.reset()
    if script.usage and (body.get("stream_options") or {}).get("include_usage"):
        usage = replies.usage(body, "".join(pieces), script.cached_tokens)
        yield json.dumps({**replies.envelope("chat.completion.chunk"), "choices": [], "usage": usage})
    yield "[DONE]"


def _parse(head: bytes) -> tuple[str, str, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, target, _ = first.split(" ")
    return method, target, {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--with-stdin", action="store_true", help="stop when standard input closes")
    options = parser.parse_args()
    loop, server = asyncio.get_running_loop(), Server()
    listener = await loop.create_server(lambda: Connection(server), "127.0.0.1", options.port)
    sys.stdout.write(f"listening {listener.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    if options.with_stdin:
        await loop.run_in_executor(None, sys.stdin.read)
        os._exit(0)  # answers may still hang on purpose
    await listener.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
