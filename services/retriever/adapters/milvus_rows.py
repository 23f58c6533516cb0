"""Passages as rows of Milvus and back.

A row has few fields, because the embedded engine takes in its rows one by one when it starts, and each field costs: with a field for each
part of a passage a start took twice as long. What nobody searches by is one text, the body.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rag.ids import check_id, check_tenant
from rag.passage import Passage
from rag.vectors import Vectors
from services.retriever.passages import Place, Row

_ROUNDING = 1e-6


def to_row(
    tenant: str, title: str, passage: Passage, vector: Vectors, *, words: str, metadata: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a passage as a row; `words` are the terms that a keyword search finds it by.

    Its key is its place, not the passage's id: ids come from outside, and equal ones, of another version or another tenant,
    must never overwrite each other.
    """
    return {
        "id": row_id(tenant, Place(passage.document_id, passage.version, passage.ordinal)),
        "tenant": tenant,
        "document_id": passage.document_id,
        "version": passage.version,
        "body": _body(title, passage),
        "words": words,
        "metadata": metadata,
        "dense": unit(vector),
    }


def to_stored(row: Mapping[str, Any]) -> Row:
    """Return a row with what was asked for of it."""
    place, vector = to_place(row["id"]), row.get("dense")
    numbers, _, texts = row["body"].partition("\n")
    page, start, end, tokens, *lengths = map(int, numbers.split())
    passage_id, title, heading, text = _parts(texts, lengths)
    passage = Passage(
        id=passage_id,
        document_id=place.document_id,
        version=place.version,
        ordinal=place.ordinal,
        text=text,
        heading=heading,
        page=page,
        char_start=start,
        char_end=end,
        token_count=tokens,
    )
    return Row(passage, title, None if vector is None else np.asarray(vector, dtype=np.float32))


def row_id(tenant: str, place: Place) -> str:
    """Return the key of the row at a place, made of a checked tenant and a checked id."""
    return f"{check_tenant(tenant)}/{check_id(place.document_id, 'document_id')}/{place.version:d}/{place.ordinal:d}"


def to_place(key: str) -> Place:
    """Return the place that a row's key names."""
    _, document_id, version, ordinal = key.split("/")
    return Place(document_id, int(version), int(ordinal))


def unit(vector: Vectors) -> Vectors:
    """Return a vector's direction: a vector of length 1, which is the vector itself when it has that length."""
    length = float(np.linalg.norm(vector))
    return vector if abs(length - 1) < _ROUNDING else (vector / length).astype(np.float32)


def _body(title: str, passage: Passage) -> str:
    # A line of numbers with the lengths of the texts, then the texts: nothing is escaped, so nothing grows beyond the field.
    texts = (passage.id, title, passage.heading)
    numbers = (passage.page, passage.char_start, passage.char_end, passage.token_count, *map(len, texts))
    return "".join((" ".join(map(str, numbers)), "\n", *texts, passage.text))


def _parts(texts: str, lengths: list[int]) -> list[str]:
    """Return as many texts as there are lengths, and the rest."""
    parts, start = [], 0
    for length in lengths:
        parts.append(texts[start : start + length])
        start += length
    return [*parts, texts[start:]]
