"""multipart/form-data read while it arrives: the fields before the file, then the file, nothing held in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from rag.runtime.errors import InvalidInput

_MAX_FIELD_BYTES = 256 * 1024
_MAX_PARTS = 16
FILE = "file"


class Form:
    """One form. First `fields`, then `file`.

    Args:
        content_type: The header, with the boundary.
        body: The body's bytes as they arrive.
    """

    def __init__(self, content_type: str, body: AsyncIterator[bytes]) -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise InvalidInput("The Content-Type has no boundary.", "BAD_FORM")
        self._body = body
        self._parts = _Parts()
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._parts.begin,
                    "on_header_field": self._parts.header_name,
                    "on_header_value": self._parts.header_value,
                    "on_header_end": self._parts.header_end,
                    "on_headers_finished": self._parts.headers_end,
                    "on_part_data": self._parts.data,
                    "on_end": self._parts.end,
                },
            )
        except FormParserError as error:
            raise InvalidInput("The Content-Type has no usable boundary.", "BAD_FORM") from error

    async def fields(self) -> dict[str, str]:
        """Read up to the start of the file; return the fields before it, and its name as `name`.

        Raises:
            InvalidInput: BAD_FORM, or NO_FILE when there is none.
        """
        while self._parts.file_name is None:
            if not await self._read():
                raise InvalidInput("The form has no part named file.", "NO_FILE")
        return {**self._parts.texts(), "name": self._parts.file_name}

    async def file(self) -> AsyncGenerator[bytes, None]:
        """Read the file; the rest of the form must hold nothing else.

        Raises:
            InvalidInput: BAD_FORM, also when a field follows the file.
        """
        more = True
        while more or self._parts.file_bytes:
            while self._parts.file_bytes:
                yield self._parts.file_bytes.popleft()
            more = await self._read()
        if not self._parts.ended:
            raise InvalidInput("The form breaks off before its end.", "BAD_FORM")

    async def _read(self) -> bool:
        try:
            chunk = await anext(self._body)
        except StopAsyncIteration:
            return False
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise InvalidInput("The body is not a valid form.", "BAD_FORM") from error
        return True


class _Parts:
    """What the parser found so far."""

    def __init__(self) -> None:
        self.file_name: str | None = None
        self.file_bytes: deque[bytes] = deque()
        self.ended = False
        self._fields: dict[str, bytearray] = {}
        self._headers: dict[bytes, bytes] = {}
        self._header = (b"", b"")
        self._field: bytearray | None = None
        self._count = 0

    def texts(self) -> dict[str, str]:
        return {name: _text(bytes(value), name) for name, value in self._fields.items()}

    def begin(self) -> None:
        self._count += 1
        if self._count > _MAX_PARTS:
            raise InvalidInput(f"The form has more than {_MAX_PARTS} parts.", "BAD_FORM")
        if self.file_name is not None:
            message = "The file must be the last part of the form: send document_id, title and metadata before it."
            raise InvalidInput(message, "FIELD_AFTER_FILE")
        self._headers = {}

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header[0] + data[start:end], self._header[1])

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header[0], self._header[1] + data[start:end])

    def header_end(self) -> None:
        self._headers[self._header[0].lower()] = self._header[1]
        self._header = (b"", b"")

    def headers_end(self) -> None:
        disposition = self._headers.get(b"content-disposition", b"").decode("latin-1")
        options = parse_options_header(disposition)[1]
        name = _text(options.get(b"name", b""), "name")
        if name == FILE:
            self.file_name = _text(options.get(b"filename", b""), "filename")
            self._field = None
        else:
            self._field = self._fields.setdefault(name, bytearray())

    def data(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self.file_bytes.append(data[start:end])
        elif len(self._field) + end - start > _MAX_FIELD_BYTES:
            raise InvalidInput("A field of the form is too long.", "BAD_FORM")
        else:
            self._field += data[start:end]

    def end(self) -> None:
        self.ended = True


def _text(value: bytes, field: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{field} is not valid UTF-8.", "BAD_FORM", field=field) from error
