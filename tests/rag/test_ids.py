from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.ids import check_id, check_tenant, new_id
from rag.runtime.errors import InvalidInput, Unauthenticated

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"


@given(st.text(alphabet=LETTERS, min_size=1, max_size=64))
def test_a_well_formed_id_is_itself(value: str) -> None:
    assert check_id(value, "document_id") == check_tenant(value) == value


@given(st.text().filter(lambda text: not text or len(text) > 64 or set(text) - set(LETTERS)))
def test_anything_else_is_refused(value: str) -> None:
    with pytest.raises(InvalidInput, match="document_id"):
        check_id(value, "document_id")
    with pytest.raises(Unauthenticated):
        check_tenant(value)


@pytest.mark.parametrize("value", ["a\n", "a' or 'b", "../a", "a:b", "ä", "\u0430"])
def test_hostile_ids_are_refused(value: str) -> None:
    with pytest.raises(InvalidInput):
        check_id(value, "job_id")


def test_new_ids_are_well_formed_and_differ() -> None:
    ids = {check_id(new_id("job"), "job_id") for _ in range(1000)}
    assert len(ids) == 1000
