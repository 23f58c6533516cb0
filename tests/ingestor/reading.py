"""Reads a document as the parser child does, but in this process."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from rag.runtime.errors import InvalidInput
from services.ingestor.pages import Opening, Page
from services.ingestor.readers.kinds import READERS
from services.ingestor.sniffing import HEAD_BYTES, media_type_of


@dataclass(frozen=True)
class Document:
    """A document that was read."""

    media_type: str
    opening: Opening
    pages: list[Page]

    @property
    def text(self) -> str:
        return "".join(page.text for page in self.pages)


Reading = Callable[..., Document]


def read(path: Path, content: bytes, name: str = "document") -> Document:
    """Sniff the content and read it with the reader of its type."""
    path.write_bytes(content)
    media_type = media_type_of(content[:HEAD_BYTES], name)
    reader = importlib.import_module(f"services.ingestor.readers.{READERS[media_type]}")
    opening, *pages = reader.read(path)
    return Document(opening.media_type or media_type, opening, pages)


def outcome(path: Path, content: bytes, name: str = "document") -> str:
    """The reason of a refusal; empty for none. Any other error is raised."""
    try:
        read(path, content, name)
    except InvalidInput as refused:
        error = refused
    else:
        return ""
    assert error.reason.isupper()
    assert error.message.endswith(".")
    return error.reason


def refusal(path: Path, content: bytes, name: str = "document") -> InvalidInput:
    """The error with which a document is refused."""
    with pytest.raises(InvalidInput) as caught:
        read(path, content, name)
    return caught.value
