"""Two tenants in one index, with equal ids: each sees its own, the expressions say so first, and so do the keys."""

from __future__ import annotations

import inspect
import itertools
import re

import grpc
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from rag.ids import new_id
from rag.runtime.redis import open_redis
from rag.v1 import passage_pb2
from rag.v1 import retriever_pb2 as pb
from services.retriever.adapters import milvus_filter
from services.retriever.adapters.milvus_filter import in_scope, in_versions
from services.retriever.retrieval.filters import AnyOf, Condition, Equals, Filter, NotEquals, Within
from services.retriever.retrieval.legs import Scope
from tests.hostile import HOSTILE
from tests.retriever.room import Retriever, of, reason, value

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODES = [pb.RETRIEVAL_MODE_HYBRID, pb.RETRIEVAL_MODE_DENSE, pb.RETRIEVAL_MODE_KEYWORD]
OF_ALL_TENANTS = {"in_turn": "The rows in turn, for those who look for rows that no document has any more."}

ids = st.text("abcXYZ019_-", min_size=1, max_size=64)
texts = st.one_of(st.sampled_from([text for text in HOSTILE if len(text) <= 1000]), st.text(max_size=20))
scalars = st.one_of(texts, st.floats(allow_nan=False, allow_infinity=False), st.booleans())
tests = st.one_of(
    scalars.map(Equals),
    scalars.map(NotEquals),
    st.lists(texts, min_size=1, max_size=3).map(lambda values: AnyOf(tuple(values))),
    st.floats(-1e9, 1e9).map(lambda least: Within(least, None)),
)
filters = st.builds(
    Filter,
    st.lists(ids, max_size=3).map(tuple),
    st.lists(st.builds(Condition, st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,9}", fullmatch=True), tests), max_size=3).map(
        tuple
    ),
)


def check_is_of(tenant: str, expression: str) -> None:
    """The tenant stands first, and what follows can only narrow: outside of brackets there is `and`, and no other word."""
    first = f'tenant == "{tenant}"'
    assert expression.startswith(first)
    rest = re.sub(r'"[^"\\]*"', '""', expression.removeprefix(first))
    assert not rest or rest.startswith(" and ")
    while rest != (outer := re.sub(r"\([^()]*\)", "", rest)):
        rest = outer
    assert not re.search(r"\bor\b|\|\||\bnot\b|[()]", rest)
    assert rest.count("tenant") == 0


@given(tenant=ids, wanted=filters, stale=st.frozensets(st.tuples(ids, st.integers(0, 2**53)), max_size=3))
async def test_every_search_is_narrowed_to_its_tenant_first(tenant, wanted, stale):
    check_is_of(tenant, in_scope(Scope(tenant, wanted, stale)))


@given(tenant=ids, document=ids, first=st.integers(0, 2**64), last=st.integers(0, 2**64))
async def test_every_look_at_versions_is_narrowed_to_its_tenant_first(tenant, document, first, last):
    check_is_of(tenant, in_versions(tenant, document, first, last))


async def test_there_is_no_other_expression_over_rows():
    found = {name for name, _ in inspect.getmembers(milvus_filter, inspect.isfunction) if name.startswith("in_")}
    assert found == {"in_scope", "in_versions", *OF_ALL_TENANTS}


@pytest_asyncio.fixture(loop_scope="module")
async def owners(room: Retriever) -> list[tuple[str, str]]:
    """Two tenants, each with its word: the documents and passages of both have the same ids and nearly the same text."""
    made = [(new_id("tenant"), word) for word in ("quokka", "wombat")]
    for tenant, word in made:
        for document_id in ("shared", f"only-{word}"):
            passages = [f"The pump of the {word} is checked, part {n} of {document_id}." for n in range(3)]
            await room.index(tenant, document_id, passages, title=word, metadata={"team": value(word)})
    return made


@pytest.mark.parametrize("mode", MODES, ids=pb.RetrievalMode.Name)
async def test_a_search_looks_at_no_row_of_another_tenant(room, owners, mode):
    for (tenant, word), (_, other) in itertools.permutations(owners):
        events = await room.retrieve(tenant, f"pump {other}", mode=mode, top_k=100)
        hits, summary = [event.hit for event in events if event.HasField("hit")], events[-1].summary
        assert all(word in hit.passage.text and hit.title == word for hit in hits)
        assert max(summary.dense_candidates, summary.keyword_candidates) <= 6
        if mode == pb.RETRIEVAL_MODE_KEYWORD:
            assert not await room.hits(tenant, other, mode=mode)


@pytest.mark.parametrize("mode", MODES, ids=pb.RetrievalMode.Name)
async def test_a_filter_for_anothers_document_or_value_finds_nothing(room, owners, mode):
    for (tenant, _), (_, other) in itertools.permutations(owners):
        theirs = passage_pb2.Condition(key="team", equals=value(other))
        by_value = passage_pb2.Filter(conditions=[theirs])
        by_id = passage_pb2.Filter(document_ids=[f"only-{other}"])
        for narrowed in (by_value, by_id):
            events = await room.retrieve(tenant, f"pump {other}", mode=mode, filter=narrowed)
            assert not any(event.HasField("hit") for event in events)
            assert (events[-1].summary.dense_candidates, events[-1].summary.keyword_candidates) == (0, 0)


async def test_a_tenant_without_documents_finds_nothing(room, owners, tenant):
    for mode in MODES:
        assert not await room.hits(tenant, "pump quokka wombat", mode=mode)


async def test_a_page_token_of_another_tenant_is_a_place_in_ones_own_list(room, owners):
    (tenant, word), (other, _) = owners
    theirs = await room.stub.ListDocuments(pb.ListDocumentsRequest(page_size=1), metadata=of(other))
    assert theirs.next_page_token
    forged = pb.ListDocumentsRequest(page_token=theirs.next_page_token)
    own = await room.stub.ListDocuments(forged, metadata=of(tenant))
    assert {document.title for document in own.documents} <= {word}
    theirs = await room.stub.ListPassages(pb.ListPassagesRequest(document_id="shared", page_size=1), metadata=of(other))
    forged = pb.ListPassagesRequest(document_id="shared", page_token=theirs.next_page_token)
    own = await room.stub.ListPassages(forged, metadata=of(tenant))
    assert [passage.ordinal for passage in own.passages] == [1, 2]
    assert all(word in passage.text for passage in own.passages)


async def test_deleting_ones_own_leaves_what_others_call_the_same(room, owners):
    (tenant, word), (other, other_word) = owners
    await room.delete(tenant, "shared")
    await room.erased()
    assert len(await room.found(other, f"pump {other_word}", top_k=100)) == 6
    assert await room.row_count(other) == 6
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await room.get(tenant, "shared")
    assert reason(failure.value) == "DOCUMENT_NOT_FOUND"
    assert set(await room.found(tenant, f"pump {word}", top_k=100)) == {
        f"The pump of the {word} is checked, part {n} of only-{word}." for n in range(3)
    }


async def test_ids_that_look_like_parts_of_keys_are_ids(room, tenant):
    names = ["documents", "document", "versions", "deleted", "commits", "changes", "1", "all", "None"]
    for name in names:
        await room.index(tenant, name, [f"The pump {name}."])
    listed = await room.stub.ListDocuments(pb.ListDocumentsRequest(), metadata=of(tenant))
    assert {document.id for document in listed.documents} == set(names)
    for name in names:
        assert await room.delete(tenant, name) == 1
    await room.erased()
    async with open_redis(room.redis_url) as redis:
        keys = {key.decode() async for key in redis.scan_iter(f"rag:{tenant}:*")}
    assert not [key for key in keys if key.startswith(f"rag:{tenant}:document:")]
