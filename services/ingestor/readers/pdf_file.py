"""A PDF file opened with pypdf, under limits of our own: what is read of it, and what is kept in memory."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import pypdf
from pypdf import PageObject
from pypdf.errors import PdfReadError, PdfStreamError
from pypdf.generic import IndirectObject, NameObject, NullObject, PdfObject, StreamObject, read_object

MB = 1_000_000
LIMITS = pypdf.Configuration(
    maximum_declared_stream_length=50 * MB,
    array_based_stream_maximum_output_length=20 * MB,
    # Financial filings made from tagged Word files have structure trees of more than the default of 100,000.
    array_maximum_element_count=1_000_000,
    lzw_maximum_output_length=20 * MB,
    run_length_maximum_output_length=20 * MB,
    zlib_maximum_output_length=20 * MB,
    brotli_maximum_output_length=20 * MB,
    jbig2_maximum_output_length=20 * MB,
    image_maximum_buffer_size=20 * MB,
    stream_decoding_work_maximum_length=60 * MB,
    # A page that draws a map may need many; each costs some microseconds and hundreds of bytes.
    stream_parsing_work_maximum_count=400_000,
    xform_maximum_invocations_per_extraction=1_000,
    jbig2dec_binary=None,
    disable_legacy_handling=True,
)
_KEPT_BYTES = 16 * MB
_KEPT_OBJECTS = 500


@dataclass(frozen=True, slots=True)
class _ObjectStream:
    """A stream that holds objects: its bytes, and where in them each object begins."""

    data: bytes
    offsets: dict[int, int]


@dataclass(frozen=True, slots=True)
class _Leaf:
    """Where a page is, and what it inherits."""

    reference: IndirectObject
    inherited: Mapping[str, Any]


class PdfFile(pypdf.PdfReader):
    """pypdf's reader, except that one object is parsed when one is asked for, and that pages are made one by one.

    pypdf parses all objects of an object stream for the sake of one. A tagged document has tens of thousands of them that
    hold no text, and they would be parsed and kept again each time that memory is set free. And it keeps all pages from
    the start, so that memory would grow with the document. Both are overridden in private methods: where a later pypdf
    has others, it reads as it always did.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._object_streams: OrderedDict[int, _ObjectStream] = OrderedDict()
        self._opening: set[int] = set()
        # A file, not its name: pypdf would hold a named one in memory as a whole.
        super().__init__(file, strict=False)

    def forget(self) -> None:
        """Set free what was parsed so far; it is parsed again when it is needed again."""
        self.resolved_objects.clear()

    def get_page(self, page_number: int) -> PageObject:
        """The page with this number, counted from 0; made anew each time."""
        found: PageObject | _Leaf = super().get_page(page_number)
        if isinstance(found, PageObject):
            return found
        page = PageObject(self, found.reference)
        for name, value in found.inherited.items():
            page.setdefault(NameObject(name), value)
        return page

    def _flatten_leaf_page(self, *, item: Any, **rest: Any) -> PageObject:
        if item.indirect_reference is None:
            return super()._flatten_leaf_page(item=item, **rest)
        if len(self.resolved_objects) > _KEPT_OBJECTS:
            self.forget()
        return cast("PageObject", _Leaf(item.indirect_reference, item.inherit))

    def _get_object_from_stream(self, indirect_reference: IndirectObject) -> PdfObject:
        idnum = indirect_reference.idnum
        stream = self._object_stream(self.xref_objStm[idnum][0])
        if idnum not in stream.offsets:
            return NullObject()
        source = io.BytesIO(stream.data)
        source.seek(stream.offsets[idnum])
        try:
            found = read_object(source, self)
        except PdfStreamError:
            return NullObject()
        self.cache_indirect_object(0, idnum, found)
        return found

    def _object_stream(self, number: int) -> _ObjectStream:
        if number in self._opening:
            raise PdfReadError(f"object stream {number} is needed to read itself")
        if number not in self._object_streams:
            self._opening.add(number)
            try:
                self._object_streams[number] = self._opened(number)
            finally:
                self._opening.discard(number)
        self._object_streams.move_to_end(number)
        while len(self._object_streams) > 1 and self._held_bytes() > _KEPT_BYTES:
            self._object_streams.popitem(last=False)
        return self._object_streams[number]

    def _held_bytes(self) -> int:
        return sum(len(stream.data) for stream in self._object_streams.values())

    def _opened(self, number: int) -> _ObjectStream:
        stream = IndirectObject(number, 0, self).get_object()
        if not isinstance(stream, StreamObject):
            raise PdfReadError(f"object {number} is not an object stream")
        # It holds its bytes unpacked, and we hold them too.
        self.resolved_objects.pop((0, number), None)
        data = stream.get_data()
        first, count = int(cast("int", stream["/First"])), int(cast("int", stream["/N"]))
        return _ObjectStream(data, _offsets(data, first, count))


def _offsets(data: bytes, first: int, count: int) -> dict[int, int]:
    """Where each object of an object stream begins: the head holds pairs of its number and its place."""
    offsets: dict[int, int] = {}
    if not 0 <= first <= len(data):
        return offsets
    numbers = data[:first].split()
    for at in range(0, min(2 * max(0, count), len(numbers) - 1), 2):
        if not (numbers[at].isdigit() and numbers[at + 1].isdigit()):
            break
        place = first + int(numbers[at + 1])
        if place <= len(data):
            offsets.setdefault(int(numbers[at]), place)
    return offsets
