"""Reads Excel workbooks with openpyxl, row by row: a page for each sheet."""

from __future__ import annotations

import datetime as dt
import warnings
import zipfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import openpyxl

from rag.runtime.errors import InvalidInput
from services.ingestor.pages import Opening, Page
from services.ingestor.readers import archive
from services.ingestor.readers.about import heading
from services.ingestor.readers.core_properties import about
from services.ingestor.readers.faults import named
from services.ingestor.readers.parts import clean, parts
from services.ingestor.readers.tables import named_rows

_MAX_STREAMED_BYTES = 1_000 * archive.MB
"""A sheet is read as a stream: what bounds it is the time that it may take."""
_MAX_STRINGS_BYTES = 64 * archive.MB
_DAMAGED = "The workbook is damaged and cannot be read."
_NO_TIME = dt.time()


def read(path: Path) -> Iterator[Opening | Page]:
    """Yield the sheets: the name as a heading, then the rows with the names of their columns. Values, no formulas.

    Raises:
        InvalidInput: XLSX_DAMAGED, ARCHIVE_*.
    """
    with archive.opened(path) as package:
        _check(package)
        title, metadata = about(package)
    # openpyxl refuses a path whose name does not end as it likes; uploads have no such names.
    with path.open("rb") as file, warnings.catch_warnings(), named("XLSX_DAMAGED", _DAMAGED):
        warnings.simplefilter("ignore")  # about charts, validations and styles, which hold no text
        book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
        sheets = book.worksheets
        if not sheets:
            raise InvalidInput("The workbook has no sheet that can be read; save it anew as .xlsx.", "XLSX_DAMAGED")
        yield Opening(len(sheets), title, metadata)
        for number, sheet in enumerate(sheets, 1):
            yield from parts(number, map(clean, _text(sheet)))


def _text(sheet: Any) -> Iterator[str]:
    # What a sheet claims of its size is often wrong, and may be a billion cells.
    sheet.reset_dimensions()
    rows = named_rows([_cell(value) for value in row] for row in sheet.iter_rows(values_only=True))
    first = next(rows, "")
    if first:
        yield heading(1, sheet.title) + "\n\n"
        yield from chain([first], rows)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, dt.datetime):
        return value.date().isoformat() if value.time() == _NO_TIME else value.isoformat(" ")
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value)


def _check(package: zipfile.ZipFile) -> None:
    for info in package.infolist():
        most = archive.MAX_MEMBER_BYTES
        if "/worksheets/" in info.filename:
            most = _MAX_STREAMED_BYTES
        elif info.filename.lower().endswith("sharedstrings.xml"):
            most = _MAX_STRINGS_BYTES
        if info.filename.lower().endswith((".xml", ".rels")) and info.file_size > most:
            raise archive.too_much(info.filename)
