"""A passage in plain Python, as every domain speaks of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A stretch of a document: `text` is `document_text[char_start:char_end]`, in Unicode code points."""

    id: str
    document_id: str
    version: int = 0
    """The version of the document; 0 until the retriever has given one."""
    ordinal: int
    """The position among the document's passages, from 0."""
    text: str
    heading: str
    page: int
    """From 1; 0 for a document without pages."""
    char_start: int
    char_end: int
    token_count: int
    """In tokens of the embedding model."""
