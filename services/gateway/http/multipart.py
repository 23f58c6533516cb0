"""multipart/form-data read while it arrives: the files one after the other with the fields before them, nothing held in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from rag.runtime.errors import InvalidInput, RagError, TooLarge
from services.gateway.http.problems import ClientGone

if TYPE_CHECKING:  # the parser has the name for type checkers only
    from python_multipart.multipart import MultipartCallbacks

_MAX_FIELD_BYTES = 256 * 1024
_MAX_FIELDS = 16
"""Between two files."""
FILE = "file"


@dataclass(frozen=True, slots=True)
class FormField:
    """A field: it counts for the files after it, from the position `since` on, until it is sent again."""

    value: str
    since: int


@dataclass(frozen=True, slots=True)
class FileHead:
    """What is known of a file when its bytes begin: its name, its position from 1, the fields that count for it."""

    name: str
    position: int
    fields: Mapping[str, FormField]


class Form:
    """One form: `next_file`, then its `content`, then the next.

    A file's content ends only when the next file or the form's proper end was seen, so a file that was read to its end may be
    kept. What breaks the form is raised again by every later call.

    Args:
        content_type: The header, with the boundary.
        body: The body's bytes as they arrive.
        max_files: One more file breaks the form.
    """

    def __init__(self, content_type: str, body: AsyncIterator[bytes], max_files: int) -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise InvalidInput("The Content-Type has no boundary.", "BAD_FORM")
        self._body = body
        self._parts = _Parts(max_files)
        try:
            self._parser = MultipartParser(boundary, self._parts.callbacks())
        except FormParserError as error:
            raise InvalidInput("The Content-Type has no usable boundary.", "BAD_FORM") from error

    async def next_file(self) -> FileHead | None:
        """Read on to the next file, past what is left of the one before; None at the end of the form.

        Raises:
            InvalidInput: BAD_FORM, NO_FILE, FIELD_AFTER_FILE.
            TooLarge: TOO_MANY_FILES.
        """
        async with aclosing(self.content()) as rest:
            async for _ in rest:
                pass
        head = await self._next()
        if not isinstance(head, FileHead):
            return None
        self._parts.found.popleft()
        return head

    async def content(self) -> AsyncGenerator[bytes, None]:
        """Read the bytes of the current file. Leaving it between two chunks loses nothing.

        Raises:
            InvalidInput: as `next_file`.
            TooLarge: as `next_file`.
        """
        while isinstance(chunk := await self._next(), bytearray):
            self._parts.found.popleft()
            yield bytes(chunk)

    async def _next(self) -> FileHead | bytearray | None:
        while not self._parts.found:
            if not await self._read():
                return None
        found = self._parts.found[0]
        if isinstance(found, Exception):
            raise found
        return found

    async def _read(self) -> bool:
        try:
            chunk = await anext(self._body)
            self._parser.write(chunk)
        except StopAsyncIteration:
            if self._parts.ended:
                return False
            self._parts.break_off()
        except FormParserError:
            self._parts.found.append(InvalidInput("The body is not a valid form.", "BAD_FORM"))
        except (RagError, ClientGone) as error:  # told in its place, after what came before it
            self._parts.found.append(error)
        return True


class _Parts:
    """What the parser found so far: heads of files, their bytes, and what broke the form."""

    def __init__(self, max_files: int) -> None:
        self.found: deque[FileHead | bytearray | Exception] = deque()
        self.ended = False
        self._max_files = max_files
        self._files = 0
        self._fields: dict[str, FormField] = {}
        self._fields_since_file = 0
        self._headers: dict[bytes, bytes] = {}
        self._header = (b"", b"")
        self._field = ""
        self._value: bytearray | None = None

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._headers.clear,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._part,
            "on_part_data": self._data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def break_off(self) -> None:
        broken = InvalidInput("The form breaks off before its end.", "BAD_FORM")
        self.found.append(broken if self._files else _no_file())

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header[0] + data[start:end], self._header[1])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header[0], self._header[1] + data[start:end])

    def _header_end(self) -> None:
        self._headers[self._header[0].lower()] = self._header[1]
        self._header = (b"", b"")

    def _part(self) -> None:
        disposition = self._headers.get(b"content-disposition", b"").decode("latin-1")
        options = parse_options_header(disposition)[1]
        name = _text(options.get(b"name", b""), "name")
        if name == FILE:
            self._file(_text(options.get(b"filename", b""), "filename"))
        elif b"filename" in options:
            raise InvalidInput("A part that is a file must be named file.", "BAD_FORM")
        else:
            self._fields_since_file += 1
            if self._fields_since_file > _MAX_FIELDS:
                raise InvalidInput(f"The form has more than {_MAX_FIELDS} fields before a file.", "BAD_FORM")
            self._field, self._value = name, bytearray()

    def _file(self, name: str) -> None:
        self._files += 1
        self._fields_since_file = 0
        self.found.append(FileHead(name, self._files, dict(self._fields)))
        if self._files > self._max_files:
            message = f"The form has more than {self._max_files} files: this one and those after it were left out."
            raise TooLarge(message, "TOO_MANY_FILES", max_files=str(self._max_files))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._value is not None:
            if len(self._value) + end - start > _MAX_FIELD_BYTES:
                raise InvalidInput("A field of the form is too long.", "BAD_FORM")
            self._value += data[start:end]
        elif self.found and isinstance(last := self.found[-1], bytearray):
            last += data[start:end]  # a body full of line ends comes in crumbs
        else:
            self.found.append(bytearray(data[start:end]))

    def _part_end(self) -> None:
        if self._value is not None:
            value = _text(bytes(self._value), self._field)
            self._fields[self._field] = FormField(value, self._files + 1)
            self._value = None

    def _end(self) -> None:
        self.ended = True
        if not self._files:
            raise _no_file()
        if self._fields_since_file:
            message = (
                "A field after the last file counts for none: send document_id, title and metadata before the file."
            )
            raise InvalidInput(message, "FIELD_AFTER_FILE")


def _no_file() -> RagError:
    return InvalidInput("The form has no part named file.", "NO_FILE")


def _text(value: bytes, field: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{field} is not valid UTF-8.", "BAD_FORM", field=field) from error
