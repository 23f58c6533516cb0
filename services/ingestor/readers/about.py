"""What a document says about itself, as metadata of bounded size."""

from __future__ import annotations

import datetime as dt

from services.ingestor.readers.parts import clean
from services.ingestor.structure import MAX_HEADING_CHARS

MAX_FACT_CHARS = 500
MAX_TITLE_CHARS = 1_000


def line(text: object, longest: int = MAX_TITLE_CHARS) -> str:
    """One clean line of text; empty for None."""
    return clean(" ".join(str(text).split()))[:longest].strip() if text is not None else ""


def heading(depth: int, text: str) -> str:
    """A Markdown heading on one line; the plain text when it is too long to be a heading."""
    flat = " ".join(text.split())
    return f"{'#' * depth} {flat}" if len(flat) + depth < MAX_HEADING_CHARS else flat


def facts(**values: object) -> dict[str, str]:
    """The values that are there, as `source_<name>`; dates in ISO 8601."""
    texts = {f"source_{name}": line(_iso(value), MAX_FACT_CHARS) for name, value in values.items()}
    return {name: text for name, text in texts.items() if text}


def _iso(value: object) -> object:
    return value.isoformat() if isinstance(value, dt.date | dt.time) else value
