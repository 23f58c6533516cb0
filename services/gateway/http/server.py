"""The HTTP server: uvicorn on the loop that the gRPC server and the channels use."""

from __future__ import annotations

import asyncio
import fcntl
import math
import socket
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from rag.runtime.errors import FailedPrecondition
from rag.runtime.logs import get_logger
from services.gateway.http.reader import HIGH_WATER_BYTES, STATE
from services.gateway.settings import GatewaySettings

log = get_logger(__name__)

_NOT_SENT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)
_LAST_WORDS_S = 1.0
"""How long before the end of the grace the open streams are told."""


class HttpServer:
    """One listening server.

    Its port is bound when it is built, so that a port in use is known before anything starts.

    Raises:
        FailedPrecondition: PORT_IN_USE, naming the variable.
    """

    def __init__(self, settings: GatewaySettings, app: FastAPI, cut_streams: Callable[[], None]) -> None:
        self._settings = settings
        self._cut_streams = cut_streams
        self._socket = _listen(settings.http_host, settings.http_port)
        self._server = _Server(_config(settings, app))
        self._winding_down: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self.port: int = self._socket.getsockname()[1]

    async def serve(self) -> None:
        """Serve until cancelled; then let running requests finish within the grace."""
        log.info("listening_http", address=f"{self._settings.http_host}:{self.port}")
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        try:
            await asyncio.shield(self._task)
        finally:
            await self.wind_down()
            if self._winding_down:
                await self._winding_down

    async def wind_down(self) -> None:
        """Begin to stop: take requests for the lame duck's time, then none; end what is left before the grace is over."""
        if self._winding_down is None:
            self._winding_down = asyncio.create_task(self._wind_down())

    async def _wind_down(self) -> None:
        await asyncio.sleep(self._settings.lame_duck_ms / 1000)
        self._server.should_exit = True
        if self._task is None:
            return
        grace_s = self._settings.drain_grace_ms / 1000
        await asyncio.wait({self._task}, timeout=max(grace_s - _LAST_WORDS_S, grace_s / 2))
        self._cut_streams()
        await asyncio.wait({self._task})

    async def close(self) -> None:
        """Close the port, also when it never served, and end what is left."""
        left = [task for task in (self._winding_down, self._task) if task and not task.done()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        self._socket.close()


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:  # SIGTERM is the runtime's
        yield


class _Protocol(HttpToolsProtocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        transport.set_write_buffer_limits(HIGH_WATER_BYTES)
        self.app_state = {**self.app_state, STATE: _Connection(transport, self.flow)}


class _Connection:
    """A connection as readers are seen through it."""

    def __init__(self, transport: asyncio.Transport, flow: FlowControl) -> None:
        self.abort = transport.abort
        self._transport = transport
        self._flow = flow

    def unread(self) -> int:
        """Return the bytes that the other side has not taken yet."""
        return self._transport.get_write_buffer_size() + _untaken(self._transport.get_extra_info("socket"))

    async def flushed(self) -> None:
        """Return when nothing is left in this process."""
        if not self._transport.is_closing():
            self._transport.set_write_buffer_limits(0)
        await self._flow.drain()
        if not self._transport.is_closing():
            self._transport.set_write_buffer_limits(HIGH_WATER_BYTES)


def _untaken(connection: socket.socket) -> int:
    """Return the bytes that the kernel holds until the other side has them."""
    number = connection.fileno()
    if number < 0:  # closed meanwhile
        return 0
    return int.from_bytes(fcntl.ioctl(number, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


def _config(settings: GatewaySettings, app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        loop="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=settings.keep_alive_s,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=[str(network) for network in settings.trusted_proxies],
        timeout_graceful_shutdown=math.ceil(settings.drain_grace_ms / 1000) + 1,
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host.strip("[]"), port), family=family, backlog=2048)
    except OSError as error:
        message = (
            f"Cannot listen on {host}:{port}: is another process using it? GATEWAY_HTTP_PORT chooses another port."
        )
        raise FailedPrecondition(message, "PORT_IN_USE") from error
    if _NOT_SENT:  # connections inherit it: what the kernel holds for a reader that does not read is bounded too
        listening.setsockopt(socket.IPPROTO_TCP, _NOT_SENT, HIGH_WATER_BYTES)
    return listening
