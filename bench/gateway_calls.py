"""The calls that `make bench-gateway` times, with as little work of the client's own as can be."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from typing import Protocol

import grpc

from rag.runtime.mesh import TENANT
from rag.v1 import generator_pb2, retriever_pb2

_TIMEOUT_S = 30.0
_QUESTION = "What is to be done?"
_DOCUMENT = "bench"
_TENANT = ((TENANT, "default"),)
"""For the services themselves; the gateway drops it."""


class Call(Protocol):
    """One way of asking the same."""

    async def once(self) -> float:
        """Ask, read to the end, and return when the first token came, or the answer."""
        ...

    async def close(self) -> None:
        """Close what is open."""
        ...


class Rpc:
    """Over gRPC."""

    def __init__(self, channel: grpc.aio.Channel, method: str) -> None:
        self._channel = channel
        self._method = method

    async def once(self) -> float:
        """Ask over the one channel, as a service does."""
        if self._method == "GetDocument":
            unary = self._channel.unary_unary("/rag.v1.RetrieverService/GetDocument")
            await unary(
                retriever_pb2.GetDocumentRequest(document_id=_DOCUMENT).SerializeToString(),
                metadata=_TENANT,
                timeout=_TIMEOUT_S,
            )
            return time.perf_counter()
        stream = self._channel.unary_stream(
            "/rag.v1.GeneratorService/Generate",
            generator_pb2.GenerateRequest.SerializeToString,
            generator_pb2.GenerateResponse.FromString,
        )
        request = generator_pb2.GenerateRequest(question=_QUESTION)
        first = 0.0
        async for event in stream(request, metadata=_TENANT, timeout=_TIMEOUT_S):
            if not first and event.HasField("token"):
                first = time.perf_counter()
        return first

    async def close(self) -> None:
        """The channel is its opener's."""


class Rest:
    """Over HTTP/1.1, on connections that are used again."""

    def __init__(self, port: int, method: str, tls: ssl.SSLContext | None = None) -> None:
        self._port = port
        self._tls = tls
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._is_unary = method == "GetDocument"
        body = b"" if self._is_unary else json.dumps({"question": _QUESTION, "stream": True}).encode()
        line = f"GET /v1/documents/{_DOCUMENT}" if self._is_unary else "POST /v1/query"
        kind = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n" if body else ""
        self._request = f"{line} HTTP/1.1\r\nhost: localhost\r\n{kind}\r\n".encode() + body

    async def once(self) -> float:
        """Ask on a connection of the caller's own.

        Raises:
            RuntimeError: when the answer is not 200 or is cut.
        """
        reader, writer = self._idle.pop() if self._idle else await self._open()
        writer.write(self._request)
        async with asyncio.timeout(_TIMEOUT_S):
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"{head[:300]!r}")
            first = await (self._whole(reader, head) if self._is_unary else self._events(reader))
        if b"connection: close" in head.lower():  # nginx ends a connection after so many requests
            writer.close()
        else:
            self._idle.append((reader, writer))
        return first

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        name = "localhost" if self._tls else None
        return await asyncio.open_connection("127.0.0.1", self._port, ssl=self._tls, server_hostname=name)

    async def _whole(self, reader: asyncio.StreamReader, head: bytes) -> float:
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        return time.perf_counter()

    async def _events(self, reader: asyncio.StreamReader) -> float:
        got, first = bytearray(), 0.0
        while not got.endswith(b"0\r\n\r\n"):
            part = await reader.read(65_536)
            if not part:
                raise RuntimeError(f"The connection was closed: {bytes(got[-300:])!r}")
            got += part
            if not first and b"event: token" in got:
                first = time.perf_counter()
        if b"event: done" not in got:
            raise RuntimeError(f"The answer was cut: {bytes(got[-300:])!r}")
        return first

    async def close(self) -> None:
        """Close all connections."""
        for _reader, writer in self._idle:
            writer.close()
