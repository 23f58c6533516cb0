"""The port to an embedding model, whatever it is and wherever it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rag.vectors import Vectors


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a model is. Vectors may be compared when name, revision and dimension are the same."""

    name: str
    revision: str
    dimension: int
    max_input_tokens: int
    provider: str


@dataclass(frozen=True, slots=True)
class Piece:
    """One text made ready for the model."""

    content: Any
    """In the model's own form: token ids, or the text itself."""
    tokens: int
    """How long it is for the model, after the cut; an upper bound where the model counts elsewhere."""
    truncated: bool
    """Whether it was longer than the model's limit and was cut there."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """What one run of the model gave."""

    vectors: Vectors
    """Shape (pieces, dimension), in the pieces' order, each of length 1 (L2)."""
    tokens: int
    """What the run cost, all pieces together."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one run of a model may take, and how many runs may go on at once."""

    tokens: int
    """The most tokens in a run; a single piece that is longer still gets a run of its own."""
    pieces: int = 2_048
    parallel: int = 1
    padded: bool = True
    """Whether every piece of a run costs as much as the longest, as in one rectangle of token ids."""


class Model(Protocol):
    """A model that turns texts into vectors.

    Every method raises RagErrors only: Unavailable and Overloaded when a later try may help, Internal when the model
    answered something that is not a set of vectors. None of them blocks the event loop.
    """

    async def describe(self) -> ModelInfo:
        """Return what the model is, from memory once it is known."""

    async def prepare(self, texts: Sequence[str]) -> Sequence[Piece]:
        """Return one piece for each text, in order, cut at the model's limit."""

    async def encode(self, pieces: Sequence[Piece]) -> Encoded:
        """Run the model once over the pieces. A cancelled run may go on to its end, but nobody hears of it."""
