"""Vectors on the wire: little-endian float32, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rag.runtime.errors import Internal, InvalidInput

Vectors = NDArray[np.float32]
"""Shape (count, dimension)."""

_WIRE = np.dtype("<f4")


def pack(vectors: NDArray[np.floating]) -> bytes:
    """Return the vectors, shape (count, dimension) or (dimension,), as bytes."""
    return np.ascontiguousarray(vectors, dtype=_WIRE).tobytes()


def unpack(values: bytes, dimension: int) -> Vectors:
    """Return `values` as vectors of shape (count, dimension); they share the bytes' memory and are read-only.

    Raises:
        InvalidInput: BAD_VECTORS when the bytes are not a whole number of vectors.
    """
    if dimension <= 0 or len(values) % (4 * dimension):
        message = f"{len(values)} bytes are not a whole number of vectors of {dimension} float32."
        raise InvalidInput(message, "BAD_VECTORS")
    return np.frombuffer(values, dtype=_WIRE).reshape(-1, dimension)


def joined(batches: Sequence[Vectors], count: int) -> Vectors:
    """Return the batches of an embedder's answer as one, shape (count, dimension).

    Raises:
        Internal: BAD_EMBEDDING when there are more or fewer vectors, or one that is not finite.
    """
    if sum(map(len, batches)) != count or not all(np.isfinite(batch).all() for batch in batches):
        raise Internal("The embedder did not answer with one vector per text.", "BAD_EMBEDDING")
    return np.concatenate(batches)
