"""One upload on its way: its header, its parts, and when it is sent again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import BinaryIO, Self, TypeVar

from rag.ids import new_id
from rag.metadata import Scalar, to_proto
from rag.runtime.backoff import retrying
from rag.runtime.errors import Overloaded, RagError, Unavailable
from rag.v1 import ingestor_pb2

T = TypeVar("T")

CHUNK_BYTES = 128 * 1024
ATTEMPTS = 6
FIRST_PAUSE_S, MOST_PAUSE_S = 0.5, 8.0
"""Together about eight seconds on average: a service that is started again is back by then."""


def upload_header(
    name: str,
    metadata: Mapping[str, Scalar] | None,
    request_id: str,
    *,
    document_id: str,
    title: str,
    password: str = "",
) -> ingestor_pb2.SubmitDocumentHeader:
    """Return the header of an upload, with a request id of its own when none is given."""
    header = ingestor_pb2.SubmitDocumentHeader(
        document_id=document_id,
        # A file's name may hold bytes that are no text; protobuf refuses them.
        name=name.encode(errors="replace").decode(),
        title=title,
        request_id=request_id or new_id("upload"),
        password=password,
    )
    to_proto(metadata or {}, header.metadata)
    return header


async def repeated(operation: Callable[[], Awaitable[T]], pause: Callable[[float], Awaitable[None]]) -> T:
    """Return what the operation returns, repeating it while the server is away or too busy and the deadline allows."""
    return await retrying(
        operation,
        lambda error: isinstance(error, Unavailable | Overloaded),
        FIRST_PAUSE_S,
        MOST_PAUSE_S,
        attempts=ATTEMPTS,
        pause=pause,
    )


class Sending:
    """One attempt to send a file, as a context manager around the call.

    When the file could not be read to its end, that OSError is raised in place of what the server made of the rest.
    """

    def __init__(self, header: ingestor_pb2.SubmitDocumentHeader, file: BinaryIO) -> None:
        self._header = header
        self._file = file
        self._unreadable: OSError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if self._unreadable and isinstance(error, RagError):
            raise self._unreadable from error

    async def parts(self) -> AsyncIterator[ingestor_pb2.SubmitDocumentRequest]:
        """Yield header, chunks and commit; without the commit when the document cannot be read to its end."""
        yield ingestor_pb2.SubmitDocumentRequest(header=self._header)
        size = 0
        try:
            while chunk := await asyncio.to_thread(self._file.read, CHUNK_BYTES):
                yield ingestor_pb2.SubmitDocumentRequest(chunk=chunk)
                size += len(chunk)
        except OSError as error:
            # gRPC would take an error raised here for a cancel. A stream without its commit is refused by the server.
            self._unreadable = error
            return
        yield ingestor_pb2.SubmitDocumentRequest(commit=ingestor_pb2.SubmitDocumentCommit(size_bytes=size))
