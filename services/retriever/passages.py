"""Passages and the model whose vectors stand for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from rag.passage import Passage
from rag.runtime.errors import FailedPrecondition
from rag.vectors import Vectors

Scalar = str | float | bool


@dataclass(frozen=True, slots=True)
class Model:
    """An embedding model: vectors of two of them must not be compared."""

    name: str
    revision: str
    dimension: int


class Place(NamedTuple):
    """Where a passage stands among a tenant's passages."""

    document_id: str
    version: int
    ordinal: int


class Candidate(NamedTuple):
    """A passage that one leg of a search found, and the leg's score: higher is better."""

    place: Place
    score: float


@dataclass(frozen=True, slots=True)
class Row:
    """A passage as the index holds it: below its document's title, with its vector of shape (dimension,) when asked for."""

    passage: Passage
    title: str
    vector: Vectors | None = None


def check_model(given: Model, wanted: Model) -> None:
    """Make sure that vectors of the model `given` may meet those of the index.

    Raises:
        FailedPrecondition: MODEL_MISMATCH, naming both.
    """
    if given != wanted:
        message = f"The index holds vectors of {_title(wanted)}, these are of {_title(given)}."
        raise FailedPrecondition(message, "MODEL_MISMATCH", index_model=wanted.name, given_model=given.name)


def _title(model: Model) -> str:
    return f"{model.name}@{model.revision[:12]} ({model.dimension} numbers)"
