"""A reader of an event stream who takes little or nothing: a bare socket with a small window."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

WINDOW_BYTES = 4_096
SIP_BYTES = 1_024
_BODY = b'{"question":"q","stream":true}'
_HEAD = (
    b"POST /v1/query HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    % len(_BODY)
)


async def opened(port: int) -> socket.socket:
    """Return the connection of one who has asked."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW_BYTES)
    made.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(made, ("127.0.0.1", port))
    await loop.sock_sendall(made, _HEAD + _BODY)
    return made


async def sips(connection: socket.socket, pause_s: float) -> AsyncIterator[bytes]:
    """Take a little, and then have something else to do for a while, until the other side ends it."""
    loop = asyncio.get_running_loop()
    while chunk := await loop.sock_recv(connection, SIP_BYTES):
        yield chunk
        await asyncio.sleep(pause_s)
