"""Reads tables in plain text, whatever separates their columns, row by row."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from rag.runtime.errors import InvalidInput
from services.ingestor.delimiters import columns_of
from services.ingestor.media_types import CSV, TSV
from services.ingestor.pages import Opening, Page
from services.ingestor.readers.parts import parts
from services.ingestor.readers.tables import named_rows
from services.ingestor.readers.text import decoded

MAX_LINE_CHARS = 1_000_000
MAX_CELL_CHARS = 262_144


def read(path: Path) -> Iterator[Opening | Page]:
    """Yield the rows as one document without pages, each with the names of its columns.

    Raises:
        InvalidInput: BAD_ENCODING, CSV_LIMIT, CSV_DAMAGED.
    """
    pieces = decoded(path)
    first = next(pieces, "")
    following = next(pieces, "")
    sample = first[:MAX_CELL_CHARS]
    columns = columns_of(sample, is_whole=not following and len(sample) == len(first))
    delimiter = columns.delimiter if columns else ","
    yield Opening(media_type=TSV if delimiter == "\t" else CSV)
    yield from parts(0, named_rows(_rows(_lines(chain([first, following], pieces)), delimiter)))


def _rows(lines: Iterator[str], delimiter: str) -> Iterator[list[str]]:
    csv.field_size_limit(MAX_CELL_CHARS)
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    try:
        yield from reader
    except csv.Error as error:
        at = f"line {reader.line_num}"
        if "field larger" in str(error):
            message = f"The cell that ends in {at} has more than {MAX_CELL_CHARS} characters; a quotation mark may be missing."
            raise InvalidInput(message, "CSV_LIMIT", line=str(reader.line_num)) from error
        raise InvalidInput(f"The table is damaged in {at}.", "CSV_DAMAGED", line=str(reader.line_num)) from error


def _lines(pieces: Iterator[str]) -> Iterator[str]:
    """The lines with their ends.

    Raises:
        InvalidInput: CSV_LIMIT for a line without an end in sight.
    """
    rest: list[str] = []
    held = number = 0
    for piece in pieces:
        *whole, last = piece.split("\n")
        for line in whole:
            yield "".join((*rest, line, "\n"))
            rest, held = [], 0
            number += 1
        rest.append(last)
        held += len(last)
        if held > MAX_LINE_CHARS:
            message = f"Line {number + 1} of the table has more than {MAX_LINE_CHARS} characters."
            raise InvalidInput(message, "CSV_LIMIT", line=str(number + 1))
    if held:
        yield "".join(rest)
