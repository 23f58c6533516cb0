"""Passages and the model whose vectors stand for them."""

from __future__ import annotations

from dataclasses import dataclass

from rag.runtime.errors import FailedPrecondition

Scalar = str | float | bool


@dataclass(frozen=True, slots=True)
class Model:
    """An embedding model: vectors of two of them must not be compared."""

    name: str
    revision: str
    dimension: int


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
