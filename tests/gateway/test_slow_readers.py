"""Readers of event streams that do not read, or hardly: what they hold, and when they are cut."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from prometheus_client import REGISTRY

from services.gateway.http import reader as readers
from tests.gateway.messages import answer
from tests.gateway.slow_reader import opened, sips
from tests.gateway.stage import HOLD
from tests.waiting import until

MOST_BYTES = 256 * 1024
TOKEN = "x" * 1_000


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The connections of the readers, as the server knows them."""
    found: list[Any] = []

    class Seen(readers.Reader):
        def __init__(self, scope: Any, send: Any, patience_s: float) -> None:
            super().__init__(scope, send, patience_s)
            found.append(scope["state"][readers.STATE])

    monkeypatch.setattr("services.gateway.http.sse.Reader", Seen)
    return found


def streams() -> float | None:
    return REGISTRY.get_sample_value("gateway_sse_streams")


async def test_a_reader_that_takes_nothing_holds_little_and_is_cut(open_gateway, connections):
    async with open_gateway(sse_send_timeout_s=1.0) as gateway:
        gateway.backends.generator.stage.script = [answer()[0], *[answer(TOKEN)[3]] * 3_000, HOLD]
        made = [await opened(gateway.http_port) for _ in range(20)]
        largest = 0

        def all_cut() -> bool:
            nonlocal largest
            largest = max(largest, *(one.unread() for one in connections), 0)
            return len(connections) == 20 and streams() == 0

        await until(all_cut)
        assert 0 < largest <= MOST_BYTES
        for one in made:
            one.close()


async def test_a_reader_that_takes_a_little_at_a_time_gets_all_of_it(open_gateway):
    async with open_gateway(sse_send_timeout_s=0.3) as gateway:
        gateway.backends.generator.stage.script = [*answer(*[TOKEN] * 300)]
        made = await opened(gateway.http_port)
        received = b"".join([chunk async for chunk in _until_done(made)])
        assert _body(received).count(TOKEN.encode()) == 300
        made.close()


def _body(received: bytes) -> bytes:
    """The body of a chunked response."""
    rest, body = received.partition(b"\r\n\r\n")[2], b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return body


async def _until_done(connection: socket.socket) -> AsyncIterator[bytes]:
    last = b""
    async for chunk in sips(connection, 0.01):
        yield chunk
        last = (last + chunk)[-16:]
        if last.endswith(b"0\r\n\r\n"):
            return


async def test_a_reader_that_leaves_the_end_unread_is_cut_too(open_gateway, connections):
    async with open_gateway(sse_send_timeout_s=0.3) as gateway:
        gateway.backends.generator.stage.script = [*answer(*[TOKEN] * 30)]
        made = await opened(gateway.http_port)
        await until(lambda: connections and streams() == 0)
        [connection] = connections
        await until(lambda: connection._transport.is_closing() or connection._transport.get_write_buffer_size() == 0)
        made.close()


async def test_one_large_event_is_sent_in_parts(open_gateway, connections):
    async with open_gateway(sse_send_timeout_s=0.5) as gateway:
        gateway.backends.generator.stage.script = [answer()[0], answer("y" * 1_000_000)[3], HOLD]
        made = await opened(gateway.http_port)
        largest = 0

        def cut() -> bool:
            nonlocal largest
            largest = max(largest, *(one._transport.get_write_buffer_size() for one in connections), 0)
            return bool(connections) and streams() == 0

        await until(cut)
        assert 0 < largest <= 64 * 1024
        made.close()
