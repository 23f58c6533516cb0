from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rag.ids import new_id
from rag.runtime.errors import InvalidInput, Unauthenticated
from rag.v1 import passage_pb2
from rag.v1 import retriever_pb2 as pb
from services.retriever.adapters.milvus_filter import in_scope, in_versions, token
from services.retriever.retrieval.filters import Condition, Equals, Filter
from services.retriever.retrieval.legs import Scope
from tests.retriever.room import Retriever, value

pytestmark = pytest.mark.asyncio(loop_scope="module")

texts = st.one_of(
    st.sampled_from(["", " ", "a", "A", '"', "'", "\\", '\\"', "\n", "%", "_", "{x}", "true", "1", "1.0", "é", "é"]),
    st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20),
)
numbers = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.1, 1e22, 5e-324, 1.7976931348623157e308, 2.0**53]),
    st.floats(allow_nan=False, allow_infinity=False),
)
scalars = st.one_of(texts, numbers, st.booleans())
kinds = st.sampled_from([texts, numbers, st.booleans()])


def same(left, right) -> bool:
    return type(left) is type(right) and left == right


@st.composite
def conditions_with_meaning(draw) -> tuple[passage_pb2.Condition, object]:
    """A condition, and the same as a Python function."""
    kind = draw(st.sampled_from(["equals", "not_equals", "any_of", "range"]))
    if kind == "range":
        low, high = draw(st.one_of(st.none(), numbers)), draw(st.one_of(st.none(), numbers))
        if low is None and high is None:
            low = 0.0
        if low is not None and high is not None:
            low, high = min(low, high), max(low, high)
        inside = passage_pb2.NumberRange(min=low, max=high)
        return passage_pb2.Condition(
            key="k", range=inside
        ), lambda v: isinstance(v, float) and (low is None or v >= low) and (high is None or v <= high)
    if kind == "any_of":
        values = draw(st.lists(draw(kinds), min_size=1, max_size=3))
        wanted = passage_pb2.MetadataValues(values=[value(each) for each in values])
        return passage_pb2.Condition(key="k", any_of=wanted), lambda v: any(same(v, each) for each in values)
    scalar = draw(scalars)
    if kind == "equals":
        return passage_pb2.Condition(key="k", equals=value(scalar)), lambda v: same(v, scalar)
    return passage_pb2.Condition(key="k", not_equals=value(scalar)), lambda v: v is not None and not same(v, scalar)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stored=st.lists(st.one_of(st.none(), scalars), min_size=1, max_size=4),
    conditions=st.lists(conditions_with_meaning(), min_size=1, max_size=4),
)
async def test_filters_hold_for_exactly_the_documents_they_should(room: Retriever, stored, conditions) -> None:
    tenant = new_id("tenant")
    # The values asked for are stored too, or nearly every test would be about nothing.
    for condition, _ in conditions:
        for asked in (condition.equals, condition.not_equals, *condition.any_of.values):
            if kind := asked.WhichOneof("value"):
                stored = [*stored, getattr(asked, kind)]
    for number, scalar in enumerate(stored):
        metadata = {} if scalar is None else {"k": value(scalar)}
        await room.index(tenant, f"d{number}", [f"water {number}"], metadata=metadata)
    for condition, holds in conditions:
        filtered = passage_pb2.Filter(conditions=[condition])
        hits = await room.hits(tenant, "water", mode=pb.RETRIEVAL_MODE_KEYWORD, filter=filtered, top_k=100)
        found = {hit.passage.document_id for hit in hits}
        assert found == {f"d{number}" for number, scalar in enumerate(stored) if holds(scalar)}, str(condition)


async def test_all_conditions_and_the_documents_must_hold(room: Retriever, tenant: str) -> None:
    for name, year, lang in (("a", 2020.0, "en"), ("b", 2024.0, "en"), ("c", 2024.0, "de")):
        await room.index(tenant, name, [f"water {name}"], metadata={"year": value(year), "lang": value(lang)})
    recent = passage_pb2.Condition(key="year", range=passage_pb2.NumberRange(min=2021))
    english = passage_pb2.Condition(key="lang", equals=value("en"))
    both = passage_pb2.Filter(conditions=[recent, english])
    assert await room.found(tenant, "water", filter=both) == ["water b"]
    both.document_ids.append("c")
    assert await room.found(tenant, "water", filter=both) == []


async def test_the_longest_filter_works(room: Retriever, tenant: str) -> None:
    await room.index(tenant, "d99", ["water"], metadata={"k": value("v" * 1000)})
    values = [*[value(f"{number}" * 300) for number in range(99)], value("v" * 1000)]
    condition = passage_pb2.Condition(key="k", any_of=passage_pb2.MetadataValues(values=values))
    longest = passage_pb2.Filter(document_ids=[f"d{n}" for n in range(100)], conditions=[condition] * 20)
    assert await room.found(tenant, "water", filter=longest) == ["water"]


@given(st.text())
@example('x" or tenant == "b')
async def test_no_text_of_a_client_stands_in_an_expression(text: str) -> None:
    rendered = in_scope(Scope("t", Filter((), (Condition("k", Equals(text)),))))
    assert rendered == f'tenant == "t" and metadata["is"]["k"] == "{token(text)}"'
    assert token(text).removeprefix("text:").isalnum()


@given(st.text(max_size=70))
async def test_ids_and_tenants_that_are_none_are_refused_at_the_last_door_too(text: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        with pytest.raises(Unauthenticated):
            in_scope(Scope(text, Filter()))
        with pytest.raises(InvalidInput):
            in_scope(Scope("t", Filter(document_ids=(text,))))
        with pytest.raises(InvalidInput):
            in_versions("t", text, 1, 1)
