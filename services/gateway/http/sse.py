"""Server-sent events: a gRPC stream on one side, a socket that may be slow or gone on the other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any

import orjson
from fastapi import Response
from starlette.types import Receive, Scope, Send

from rag.runtime.errors import Internal, RagError, Unavailable
from rag.runtime.logs import get_logger
from rag.runtime.status import code_of
from rag.runtime.tasks import cancel_all
from services.gateway.http.problems import is_retryable
from services.gateway.http.reader import Reader
from services.gateway.metrics import STREAMS

log = get_logger(__name__)

Frames = AsyncGenerator[bytes, None]

PING = b": ping\n\n"
RETRY = b"retry: 3000\n\n"
HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
}
_MAX_WAITING = 64
_MAX_WAITING_BYTES = 16 * 1024
# Line ends of Unicode that are none in SSE but are taken for one by some readers; inside JSON they may be escaped.
_ESCAPES = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))


def frame(event: str, json_line: bytes, sequence: int | None = None) -> bytes:
    """Return one event; `json_line` is JSON as orjson writes it, so no control character is in it raw."""
    named = b"event: %b\n%b" % (event.encode(), data(json_line))
    return named if sequence is None else b"id: %d\n%b" % (sequence, named)


def data(json_line: bytes) -> bytes:
    """Return one event without a name; `json_line` as in `frame`."""
    return b"data: %b\n\n" % escaped(json_line)


def escaped(json_line: bytes) -> bytes:
    """Return JSON without what some readers take for the end of a line."""
    for raw, code in _ESCAPES:
        json_line = json_line.replace(raw, code)
    return json_line


def error_frame(error: RagError) -> bytes:
    """Return the event that ends a stream which broke after its start."""
    code = "restarting" if isinstance(error, Restarting) else code_of(error).name.lower()
    body = {"code": code, "reason": error.reason, "message": error.message, "retryable": is_retryable(error)}
    return frame("error", orjson.dumps(body))


class Restarting(Unavailable):
    """The server is going down before the stream's end."""

    def __init__(self) -> None:
        super().__init__("The server is restarting; ask again.", "RESTARTING")


class OpenStreams:
    """The event streams that are open, so that a server that must go can end them with a word."""

    def __init__(self) -> None:
        self._cuts: set[Callable[[], None]] = set()

    @contextmanager
    def holding(self, cut: Callable[[], None]) -> Iterator[None]:
        """Count a stream as open inside a block."""
        self._cuts.add(cut)
        STREAMS.inc()
        try:
            yield
        finally:
            self._cuts.discard(cut)
            STREAMS.dec()

    def cut(self) -> None:
        """End all open streams."""
        for cut in tuple(self._cuts):
            cut()


class Feed:
    """The frames that wait between a stream and a socket: few and small, so that a slow socket slows the stream down."""

    def __init__(self) -> None:
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self.ended = False
        self.error: RagError | None = None

    async def fill(self, frames: Frames) -> None:
        """Take all frames in, then end."""
        try:
            async with aclosing(frames):
                async for one in frames:
                    await self._put(one)
            self.end()
        except RagError as error:
            self.end(error)
        except Exception as error:
            log.error("stream_failed", exc_info=error)
            self.end(Internal("Internal error.", "INTERNAL"))

    def end(self, error: RagError | None = None) -> None:
        """Take nothing more in. The first end counts."""
        if not self.ended:
            self.ended, self.error = True, error
            self._news.set()

    async def take(self, patience_s: float | None = None) -> bytes:
        """Return all frames that wait, joined; nothing at the end, and when none came within the patience."""
        if not self._waiting and not self.ended:
            self._news.clear()
            try:
                async with asyncio.timeout(patience_s):
                    await self._news.wait()
            except TimeoutError:
                return b""
        taken = b"".join(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0
        self._room.set()
        return taken

    async def _put(self, one: bytes) -> None:
        while self._waiting and not self._has_room(len(one)):
            self._room.clear()
            await self._room.wait()
        self._waiting.append(one)
        self._waiting_bytes += len(one)
        self._news.set()

    def _has_room(self, size: int) -> bool:
        return len(self._waiting) < _MAX_WAITING and self._waiting_bytes + size <= _MAX_WAITING_BYTES


class EventStream(Response):
    """A response that sends frames as they come.

    The status waits for the first frame, though not longer than for a ping: an error before it is an HTTP error, an end
    before it is 204 (which tells an EventSource not to come back). An error after it is an `error` event.

    Args:
        frames: What to send.
        streams: Where it counts as open.
        ping_s: A comment is sent after this much silence.
        send_timeout_s: How long a reader may take nothing.
        opening: Sent before the first frame.
        broken: Makes the event of an error.
    """

    def __init__(
        self,
        frames: Frames,
        streams: OpenStreams,
        *,
        ping_s: float,
        send_timeout_s: float,
        opening: bytes = RETRY,
        broken: Callable[[RagError], bytes] = error_frame,
    ) -> None:
        super().__init__(headers=HEADERS)
        self._opening = opening
        self._broken = broken
        self._frames = frames
        self._streams = streams
        self._ping_s = ping_s
        self._send_timeout_s = send_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response (ASGI)."""
        feed = Feed()
        left = asyncio.Event()
        with self._streams.holding(lambda: feed.end(Restarting())):
            async with _running(feed.fill(self._frames)), _running(_watch(receive, feed, left)) as watching:
                first = await feed.take(self._ping_s)
                if left.is_set():
                    return
                if not first and feed.error:
                    raise feed.error
                if not first and not feed.ended:  # nothing new yet, as when a watch is resumed
                    first = PING
                reader = Reader(scope, send, self._send_timeout_s)
                try:
                    await self._start(first, send)
                    await self._send_all(first, feed, left, reader)
                except TimeoutError:
                    log.warning("reader_too_slow", seconds=self._send_timeout_s)
                    reader.cut()
                    await watching

    async def _start(self, first: bytes, send: Send) -> None:
        headers = [pair for pair in self.raw_headers if pair[0] != b"content-length"]
        status = 200 if first else 204
        await send({"type": "http.response.start", "status": status, "headers": headers if first else []})

    async def _send_all(self, first: bytes, feed: Feed, left: asyncio.Event, reader: Reader) -> None:
        chunk = self._opening + first if first else b""
        while chunk and not left.is_set():
            await reader.give(chunk)
            chunk = await feed.take(self._ping_s) or (b"" if feed.ended else PING)
        if feed.error and not left.is_set():
            await reader.give(self._broken(feed.error))
        await reader.end()


async def _watch(receive: Receive, feed: Feed, left: asyncio.Event) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    left.set()
    feed.end()


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        await cancel_all([task])
