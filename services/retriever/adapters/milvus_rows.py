"""Passages as rows of Milvus and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rag.passage import Passage
from rag.vectors import Vectors
from services.retriever.search import Found

FIELDS = [
    "document_id",
    "version",
    "ordinal",
    "passage_id",
    "words",
    "heading",
    "page",
    "char_start",
    "char_end",
    "token_count",
]


def to_row(tenant: str, passage: Passage, vector: Vectors, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return a passage as a row.

    Its key is its place, not the passage's id: ids come from outside, and equal ones, of another version or another tenant,
    must never overwrite each other. The heading counts for the keyword search.
    """
    return {
        "id": f"{tenant}/{passage.document_id}/{passage.version}/{passage.ordinal}",
        "tenant": tenant,
        "document_id": passage.document_id,
        "version": passage.version,
        "ordinal": passage.ordinal,
        "passage_id": passage.id,
        "words": f"{passage.heading}\n{passage.text}",
        "heading": passage.heading,
        "page": passage.page,
        "char_start": passage.char_start,
        "char_end": passage.char_end,
        "token_count": passage.token_count,
        "metadata": metadata,
        "dense": vector,
    }


def to_passage(row: Mapping[str, Any]) -> Passage:
    """Return the passage that a row holds."""
    heading = row["heading"]
    return Passage(
        id=row["passage_id"],
        document_id=row["document_id"],
        version=row["version"],
        ordinal=row["ordinal"],
        text=row["words"][len(heading) + 1 :],
        heading=heading,
        page=row["page"],
        char_start=row["char_start"],
        char_end=row["char_end"],
        token_count=row["token_count"],
    )


def to_found(hit: Mapping[str, Any]) -> Found:
    """Return a hit of a search. BM25 scores come negative from some engines; here higher is always better."""
    entity = hit["entity"]
    vector = entity.get("dense")
    return Found(
        to_passage(entity), float(hit["distance"]), None if vector is None else np.asarray(vector, dtype=np.float32)
    )
