"""What several services put on the wire: vectors, page tokens, metadata."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rag import metadata, paging, vectors
from rag.runtime.errors import InvalidInput
from rag.v1 import passage_pb2 as pb

SCALARS = (
    st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=50)
)


@given(arrays.arrays(np.float32, st.tuples(st.integers(0, 8), st.integers(1, 16)), elements=st.floats(width=32)))
def test_vectors_survive_the_wire_bit_by_bit(matrix: np.ndarray) -> None:
    packed = vectors.pack(matrix)
    assert len(packed) == 4 * matrix.size
    assert vectors.unpack(packed, matrix.shape[1]).tobytes() == matrix.tobytes()


@pytest.mark.parametrize(("size", "dimension"), [(5, 1), (4, 2), (4, 0), (4, -1)])
def test_bytes_that_are_no_vectors_are_refused(size: int, dimension: int) -> None:
    with pytest.raises(InvalidInput, match="whole number"):
        vectors.unpack(bytes(size), dimension)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(), st.floats(allow_nan=False))
def test_a_page_token_gives_back_its_position(text: str, number: int, real: float) -> None:
    token = paging.encode_token(text, number, real)
    assert paging.decode_token(token, str, int, float) == (text, number, real)


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_any_other_page_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidInput, match="page_token"):
        paging.decode_token(token, str, int)


@pytest.mark.parametrize(("requested", "used"), [(0, 50), (1, 1), (500, 500), (501, 500), (2**31 - 1, 500)])
def test_the_page_size_has_a_default_and_a_most(requested: int, used: int) -> None:
    assert paging.page_size(requested) == used


def test_a_negative_page_size_is_refused() -> None:
    with pytest.raises(InvalidInput, match="negative"):
        paging.page_size(-1)


@given(st.dictionaries(st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,20}", fullmatch=True), SCALARS, max_size=10))
def test_metadata_survives_the_wire(plain: dict[str, metadata.Scalar]) -> None:
    holder = pb.Filter()
    field = {key: metadata.to_value(value) for key, value in plain.items()}
    assert metadata.to_python(field) == plain
    assert not holder.conditions


@pytest.mark.parametrize("value", [math.nan, math.inf, "x" * 1001, "a\x00b"])
def test_values_that_cannot_be_stored_are_refused(value: metadata.Scalar) -> None:
    with pytest.raises(InvalidInput, match="year"):
        metadata.to_python({"year": metadata.to_value(value)})


@pytest.mark.parametrize("key", ["", "1a", "a b", 'a"]', "a" * 65, "ä"])
def test_keys_that_could_break_out_are_refused(key: str) -> None:
    with pytest.raises(InvalidInput, match="metadata key"):
        metadata.to_python({key: metadata.to_value(1.0)})


def test_too_many_keys_and_an_unset_value_are_refused() -> None:
    with pytest.raises(InvalidInput, match="at most 64"):
        metadata.to_python({f"k{n}": metadata.to_value(1.0) for n in range(65)})
    with pytest.raises(InvalidInput, match="not set"):
        metadata.to_python({"year": pb.MetadataValue()})
