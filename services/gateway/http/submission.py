"""Uploads on their way to the ingestor: one document, or the files of a form one after the other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from fastapi.exceptions import RequestValidationError

from rag.runtime.errors import RagError, TooLarge
from rag.runtime.peers import Peer
from rag.runtime.tasks import cancel_all
from rag.v1 import ingestor_pb2 as pb
from rag.v1.ingestor_pb2_grpc import IngestorServiceStub
from services.gateway.http.multipart import FileHead, Form
from services.gateway.http.uploads import Header, JsonBody, SentHeaders, of_file

_CHUNK_BYTES = 256 * 1024
_MAX_WAITING = 4


class Pipe:
    """The parts of one upload between the body and the call: few, so that a slow ingestor slows the client down."""

    def __init__(self) -> None:
        self.closed = False
        self._waiting: deque[pb.SubmitDocumentRequest] = deque()
        self._changed = asyncio.Event()

    async def put(self, part: pb.SubmitDocumentRequest) -> None:
        """Add a part when there is room; a pipe that is closed takes it and drops it."""
        while len(self._waiting) >= _MAX_WAITING and not self.closed:
            await self._change()
        self._waiting.append(part)
        self._changed.set()

    def close(self) -> None:
        """Give nothing more out."""
        self.closed = True
        self._changed.set()

    async def parts(self) -> AsyncGenerator[pb.SubmitDocumentRequest, None]:
        """Give out what was put, up to the commit."""
        while True:
            while not self._waiting and not self.closed:
                await self._change()
            if self.closed:
                return
            part = self._waiting.popleft()
            self._changed.set()
            yield part
            if part.HasField("commit"):
                return

    async def _change(self) -> None:
        # One waits at a time: the pipe cannot be full and empty at once.
        self._changed.clear()
        await self._changed.wait()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file of a form: its job, or why there is none. No name: the form broke before it was known."""

    name: str | None
    end: pb.Job | RagError | RequestValidationError


class Submission:
    """Sends uploads to the ingestor.

    Args:
        ingestor: Where they go.
        max_bytes: The largest document.
    """

    def __init__(self, ingestor: Peer, max_bytes: int) -> None:
        self._ingestor = ingestor
        self._stub = IngestorServiceStub(ingestor.channel)
        self._max_bytes = max_bytes

    async def url(self, body: JsonBody) -> pb.Job:
        """Have a document fetched from the web; return its job."""
        asked = pb.SubmitUrlRequest(url=body.url or "", header=body.to_proto())
        return (await self._ingestor.unary(self._stub.SubmitUrl, asked)).job

    async def one(self, header: Header, content: AsyncIterator[bytes], *, shared: bool = False) -> pb.Job:
        """Upload one document; return its job. An upload that breaks is never committed.

        Args:
            header: What is said about it.
            content: Its bytes. What it raises is raised.
            shared: More follows in the body, so a refused upload may not stop the reading between two chunks.
        """
        pipe = Pipe()
        calling = asyncio.create_task(self._ingestor.upload(self._stub.SubmitDocument, pipe.parts()))
        calling.add_done_callback(lambda _: pipe.close())
        reading = asyncio.create_task(self._read(pipe, header, content))
        try:
            await asyncio.wait({calling, reading}, return_when=asyncio.FIRST_COMPLETED)
            if shared:
                await asyncio.wait({reading})
            if reading.done():
                reading.result()
            return (await calling).job
        finally:
            pipe.close()
            await cancel_all([calling, reading])

    async def files(self, form: Form, sent: SentHeaders) -> list[Outcome]:
        """Upload the files of a form; one that is refused does not stop the others, a form that breaks does.

        Raises:
            RagError: when the form broke before its first file.
            ClientGone: when the client left.
        """
        outcomes: list[Outcome] = []
        while True:
            try:
                head = await form.next_file()
            except RagError as error:
                if not outcomes:
                    raise
                if not _is_said(error, outcomes[-1]):
                    outcomes.append(Outcome(None, error))
                return outcomes
            if head is None:
                return outcomes
            outcomes.append(await self._file(form, head, sent))

    async def _file(self, form: Form, head: FileHead, sent: SentHeaders) -> Outcome:
        try:
            header = sent.over(of_file(head), head.position)
            async with aclosing(form.content()) as content:
                return Outcome(head.name, await self.one(header, content, shared=True))
        except (RagError, RequestValidationError) as error:
            return Outcome(head.name, error)

    async def _read(self, pipe: Pipe, header: Header, content: AsyncIterator[bytes]) -> None:
        await pipe.put(pb.SubmitDocumentRequest(header=header.to_proto()))
        size = 0
        async for chunk in content:
            size += len(chunk)
            if size > self._max_bytes:
                raise too_large(self._max_bytes)
            for start in range(0, len(chunk), _CHUNK_BYTES):
                await pipe.put(pb.SubmitDocumentRequest(chunk=chunk[start : start + _CHUNK_BYTES]))
            if pipe.closed:
                return
        await pipe.put(pb.SubmitDocumentRequest(commit=pb.SubmitDocumentCommit(size_bytes=size)))


def too_large(max_bytes: int) -> TooLarge:
    """Return the error of a document that is too large."""
    return TooLarge(f"The document is larger than {max_bytes} bytes.", "UPLOAD_TOO_LARGE", limit_bytes=str(max_bytes))


def _is_said(error: RagError, last: Outcome) -> bool:
    """Tell whether what broke the form is told already as the end of the file in which it broke."""
    return isinstance(last.end, RagError) and last.end.reason == error.reason
