"""An upload in its three forms - a form, raw bytes, JSON with text - as the one stream of the contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, TypeVar

import orjson
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import Field, StrictStr, ValidationError
from starlette.requests import ClientDisconnect

from rag.metadata import to_proto
from rag.runtime.errors import InvalidInput, TooLarge
from rag.v1 import ingestor_pb2 as pb
from services.gateway.http.bodies import Body, Scalar, declared_length
from services.gateway.http.multipart import Form
from services.gateway.http.problems import ClientGone

_CHUNK_BYTES = 256 * 1024
_FORM_OVERHEAD_BYTES = 1024 * 1024
"""What a form may hold beside its file."""
_FORM = "multipart/form-data"
Chunks = AsyncGenerator[bytes, None]
B = TypeVar("B", bound=Body)


class Header(Body):
    """What is said about a document beside its bytes."""

    name: StrictStr = Field(description="The file's name, 1 to 255 characters.")
    document_id: StrictStr = Field("", description="Its id; an id that exists gets a new version.")
    title: StrictStr = Field("", description="Its title; empty to take the one found in it.")
    metadata: dict[str, Scalar] = Field({}, description="Your own data, for filters.")

    def to_proto(self) -> pb.SubmitDocumentHeader:
        """Return the header of the contract."""
        header = pb.SubmitDocumentHeader(document_id=self.document_id, name=self.name, title=self.title)
        to_proto(self.metadata, header.metadata)
        return header


class TextBody(Header):
    """A document as text."""

    name: StrictStr = Field("untitled.txt", description="What to call it, 1 to 255 characters.")
    text: StrictStr = Field(description="The text.")


class Upload:
    """One upload: the requests of SubmitDocument while the body arrives.

    `failure` keeps what went wrong while reading: gRPC tells a broken request stream as a cancelled call only.
    """

    def __init__(self, request: Request, max_bytes: int, max_json_bytes: int) -> None:
        self.body_read = asyncio.Event()
        self.failure: Exception | None = None
        self._request = request
        self._kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        # Text in JSON must be held whole to be read; larger texts come as raw bytes.
        self._is_json = self._kind == "application/json" and "name" not in request.query_params
        self._max_bytes = min(max_bytes, max_json_bytes) if self._is_json else max_bytes
        self._closed = False

    def close(self) -> None:
        """Say that nobody waits for the upload any more."""
        self._closed = True

    async def requests(self) -> AsyncIterator[pb.SubmitDocumentRequest]:
        """Return the header, then the bytes, then the commit."""
        try:
            async for part in self._parts():
                yield part
        except ClientDisconnect as error:
            self.failure = ClientGone()
            raise self.failure from error
        except Exception as error:
            if self._closed:  # the call ended first; what the rest of the body does is nobody's concern
                return
            self.failure = error
            raise
        finally:
            self.body_read.set()

    async def _parts(self) -> AsyncIterator[pb.SubmitDocumentRequest]:
        allowed = self._max_bytes + (_FORM_OVERHEAD_BYTES if self._kind == _FORM else 0)
        if declared_length(self._request) > allowed:
            raise self._too_large()
        async with aclosing(self._limited(self._request.stream(), allowed)) as body:
            header, chunks = await self._opened(body)
            yield pb.SubmitDocumentRequest(header=header.to_proto())
            size = 0
            async with aclosing(self._limited(chunks, self._max_bytes)) as limited:
                async for chunk in limited:
                    yield pb.SubmitDocumentRequest(chunk=chunk)
                    size += len(chunk)
            yield pb.SubmitDocumentRequest(commit=pb.SubmitDocumentCommit(size_bytes=size))

    async def _opened(self, body: Chunks) -> tuple[Header, Chunks]:
        if self._kind == _FORM:
            form = Form(self._request.headers["content-type"], body)
            return _header(_with_metadata(await form.fields())), form.file()
        if self._is_json:
            parsed = _parse(TextBody, _json(b"".join([chunk async for chunk in body]), "body"))
            return parsed, _once(parsed.text.encode())
        return _header(_with_metadata(dict(self._request.query_params))), body

    async def _limited(self, chunks: AsyncIterator[bytes], limit: int) -> Chunks:
        seen = 0
        async for chunk in chunks:
            seen += len(chunk)
            if seen > limit:
                raise self._too_large()
            for start in range(0, len(chunk), _CHUNK_BYTES):
                yield chunk[start : start + _CHUNK_BYTES]

    def _too_large(self) -> TooLarge:
        message = f"The document is larger than {self._max_bytes} bytes."
        return TooLarge(message, "UPLOAD_TOO_LARGE", limit_bytes=str(self._max_bytes))


async def _once(chunk: bytes) -> Chunks:
    yield chunk


def _with_metadata(fields: dict[str, str]) -> dict[str, Any]:
    given = {key: value for key, value in fields.items() if key != "metadata"}
    return {**given, "metadata": _json(fields["metadata"].encode(), "metadata")} if fields.get("metadata") else given


def _json(raw: bytes, field: str) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"{field} is not valid JSON: {error.msg}", "INVALID", field=field) from error


def _header(fields: dict[str, Any]) -> Header:
    if not fields.get("name"):
        raise InvalidInput("The file has no name; raw bytes take it from ?name=.", "NO_NAME", field="name")
    return _parse(Header, fields)


def _parse(kind: type[B], value: Any) -> B:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False, include_input=False)) from error
