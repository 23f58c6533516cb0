from __future__ import annotations

import grpc
import pytest

from rag.v1 import passage_pb2
from rag.v1 import retriever_pb2 as pb
from tests.retriever.room import Retriever, header, passage, reason, value, vector

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXTS = ["the pump is running hot", "a valve leaks water", "the bridge is made of stone", "apples grow on trees"]


async def test_what_was_indexed_is_found_with_all_its_fields(room: Retriever, tenant: str) -> None:
    made = await room.index(tenant, "manual", TEXTS, title="The manual", metadata={"lang": value("en")})
    events = await room.retrieve(tenant, "running pump")
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds == ["progress", "progress", *["hit"] * 4, "summary"]
    stages = [pb.RETRIEVAL_STAGE_EMBEDDING, pb.RETRIEVAL_STAGE_SEARCH]
    assert [event.progress.stage for event in events[:2]] == stages
    hit = events[2].hit
    expected = passage(0, TEXTS[0], document_id="manual", version=made.version)
    assert (hit.rank, hit.passage, hit.title) == (1, expected, "The manual")
    assert hit.dense_score == pytest.approx(float(vector("running pump") @ vector(TEXTS[0])), abs=1e-5)
    assert hit.keyword_score > 0
    summary = events[-1].summary
    assert (summary.hits, summary.dense_candidates, summary.keyword_candidates) == (4, 4, 1)
    assert summary.total_ms >= summary.search_ms > 0
    assert not summary.notices


async def test_the_three_modes_rank_by_their_own_scores(room: Retriever, tenant: str) -> None:
    await room.index(tenant, "manual", TEXTS)
    dense = await room.hits(tenant, "water valve", mode=pb.RETRIEVAL_MODE_DENSE)
    keyword = await room.hits(tenant, "water valve", mode=pb.RETRIEVAL_MODE_KEYWORD)
    hybrid = await room.hits(tenant, "water valve")
    assert dense[0].passage.text == keyword[0].passage.text == hybrid[0].passage.text == TEXTS[1]
    assert all(hit.score == hit.dense_score and not hit.HasField("keyword_score") for hit in dense)
    assert all(hit.score == hit.keyword_score > 0 and not hit.HasField("dense_score") for hit in keyword)
    assert hybrid[0].score == pytest.approx(1.0)
    assert all(hit.HasField("dense_score") for hit in hybrid)
    for hits in (dense, keyword, hybrid):
        assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


async def test_words_are_found_in_other_forms_and_in_headings(room: Retriever, tenant: str) -> None:
    parts = [
        header("manual"),
        pb.IndexRequest(
            passages=pb.IndexPassages(
                passages=[passage(0, "It runs hot.", heading="Pumps > Cooling"), passage(1, "Nothing else.")],
                vectors=b"".join(vector(text).astype("<f4").tobytes() for text in ("one", "two")),
            )
        ),
        pb.IndexRequest(commit=pb.IndexCommit(passage_count=2)),
    ]
    await room.send(tenant, parts)
    for query in ("running", "pump", "COOLED"):
        [hit] = await room.hits(tenant, query, mode=pb.RETRIEVAL_MODE_KEYWORD)
        assert (hit.passage.text, hit.passage.heading) == ("It runs hot.", "Pumps > Cooling")
        assert hit.title == "manual.txt"


async def test_top_k_bounds_the_hits(room: Retriever, tenant: str) -> None:
    await room.index(tenant, "many", [f"passage number {n} about water" for n in range(30)])
    assert len(await room.hits(tenant, "water")) == 8
    assert len(await room.hits(tenant, "water", top_k=1)) == 1
    assert len(await room.hits(tenant, "water", top_k=100)) == 30


async def test_per_document_bounds_the_hits_of_each_document(room: Retriever, tenant: str) -> None:
    for name in ("a", "b", "c"):
        await room.index(tenant, name, [f"passage number {n} about water in {name}" for n in range(5)])
    for mode in (pb.RETRIEVAL_MODE_HYBRID, pb.RETRIEVAL_MODE_DENSE, pb.RETRIEVAL_MODE_KEYWORD):
        hits = await room.hits(tenant, "water", per_document=2, mode=mode, top_k=20)
        assert sorted(hit.passage.document_id for hit in hits) == ["a", "a", "b", "b", "c", "c"]
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


async def test_the_same_text_under_two_names_is_shown_once(room: Retriever, tenant: str) -> None:
    for name in ("a", "b"):
        await room.index(tenant, name, ["the pump is running hot", f"what only {name} says of the pump"])
    found = await room.found(tenant, "pump")
    assert sorted(found) == ["the pump is running hot", "what only a says of the pump", "what only b says of the pump"]


async def test_equal_texts_in_two_encodings_are_one_query(room: Retriever, tenant: str) -> None:
    await room.index(tenant, "a", ["Bücher über Äpfel"])
    first = await room.retrieve(tenant, " B\u00fccher")
    again = await room.retrieve(tenant, "Bu\u0308cher\n")
    assert again[-1].summary.from_cache
    assert [event for event in again if event.HasField("hit")] == [event for event in first if event.HasField("hit")]


async def test_min_score_drops_what_is_less_similar(room: Retriever, tenant: str) -> None:
    await room.index(tenant, "manual", TEXTS)
    for mode in (pb.RETRIEVAL_MODE_HYBRID, pb.RETRIEVAL_MODE_DENSE):
        hits = await room.hits(tenant, "a valve leaks water", mode=mode, min_score=0.9)
        assert [hit.passage.text for hit in hits] == [TEXTS[1]]
        assert await room.hits(tenant, "entirely different", mode=mode, min_score=0.99) == []


async def test_a_query_without_words_finds_by_meaning_only(room: Retriever, tenant: str) -> None:
    await room.index(tenant, "manual", TEXTS)
    for query in ("!!!", "the of", "\x00?", "😀", 'x" or tenant == "b'):
        assert len(await room.hits(tenant, query)) == 4
    assert await room.hits(tenant, "!!!", mode=pb.RETRIEVAL_MODE_KEYWORD) == []


async def test_a_tenant_sees_nothing_of_another(room: Retriever, tenant: str) -> None:
    other = f"{tenant}-b"
    await room.index(tenant, "mine", ["the secret pump"], metadata={"k": value("v")})
    await room.index(other, "theirs", ["the secret valve"], metadata={"k": value("v")})
    for query in ("secret", f'secret" or tenant == "{other}'):
        for fields in ({}, {"mode": pb.RETRIEVAL_MODE_KEYWORD}, {"mode": pb.RETRIEVAL_MODE_DENSE}):
            assert await room.found(tenant, query, **fields) == ["the secret pump"]
    named = passage_pb2.Filter(document_ids=["theirs"])
    assert await room.hits(tenant, "secret", filter=named) == []
    for hostile in ('v" or tenant == "' + other, "v' or 1 == 1 or '", 'v") or (tenant != "', "\\", '\\"', "%"):
        condition = passage_pb2.Condition(key="k", equals=value(hostile))
        assert await room.hits(tenant, "secret", filter=passage_pb2.Filter(conditions=[condition])) == []


async def test_equal_ids_of_two_tenants_do_not_overwrite_each_other(room: Retriever, tenant: str) -> None:
    other = f"{tenant}-b"
    await room.index(tenant, "same", ["the first text"])
    await room.index(other, "same", ["the second text"])
    assert await room.found(tenant, "text") == ["the first text"]
    assert await room.found(other, "text") == ["the second text"]


async def test_the_document_filter_narrows_the_search(room: Retriever, tenant: str) -> None:
    for name in ("a", "b", "c"):
        await room.index(tenant, name, [f"water in {name}"])
    wanted = passage_pb2.Filter(document_ids=["a", "c", "unknown"])
    assert sorted(await room.found(tenant, "water", filter=wanted)) == ["water in a", "water in c"]


BAD = {
    "empty": ({"query": ""}, "EMPTY_QUERY"),
    "white space": ({"query": " \n\t"}, "EMPTY_QUERY"),
    "a megabyte": ({"query": "a" * 1_000_000}, "QUERY_TOO_LONG"),
    "one too long": ({"query": "a" * 8193}, "QUERY_TOO_LONG"),
    "top_k 0": ({"top_k": 0}, "BAD_TOP_K"),
    "top_k 10,000": ({"top_k": 10_000}, "BAD_TOP_K"),
    "top_k -1": ({"top_k": -1}, "BAD_TOP_K"),
    "per_document 0": ({"per_document": 0}, "BAD_PER_DOCUMENT"),
    "per_document -1": ({"per_document": -1}, "BAD_PER_DOCUMENT"),
    "min_score NaN": ({"min_score": float("nan")}, "BAD_MIN_SCORE"),
    "min_score infinite": ({"min_score": float("inf")}, "BAD_MIN_SCORE"),
    "min_score of words": ({"min_score": 0.5, "mode": pb.RETRIEVAL_MODE_KEYWORD}, "BAD_MIN_SCORE"),
    "unknown mode": ({"mode": 17}, "BAD_MODE"),
    "bad document id": ({"filter": passage_pb2.Filter(document_ids=['x" or "'])}, "BAD_ID"),
    "101 documents": ({"filter": passage_pb2.Filter(document_ids=["x"] * 101)}, "BAD_FILTER"),
}
CONDITIONS = {
    "no test": passage_pb2.Condition(key="k"),
    "bad key": passage_pb2.Condition(key='k"] == 1 or tenant["', equals=value(1.0)),
    "empty key": passage_pb2.Condition(equals=value(1.0)),
    "unset value": passage_pb2.Condition(key="k", equals=passage_pb2.MetadataValue()),
    "NaN": passage_pb2.Condition(key="k", equals=value(float("nan"))),
    "long text": passage_pb2.Condition(key="k", not_equals=value("x" * 1001)),
    "no values": passage_pb2.Condition(key="k", any_of=passage_pb2.MetadataValues()),
    "two kinds": passage_pb2.Condition(key="k", any_of=passage_pb2.MetadataValues(values=[value("a"), value(1.0)])),
    "101 values": passage_pb2.Condition(key="k", any_of=passage_pb2.MetadataValues(values=[value("a")] * 101)),
    "no bounds": passage_pb2.Condition(key="k", range=passage_pb2.NumberRange()),
    "infinite bound": passage_pb2.Condition(key="k", range=passage_pb2.NumberRange(min=float("-inf"))),
    "crossed bounds": passage_pb2.Condition(key="k", range=passage_pb2.NumberRange(min=2, max=1)),
}
BAD |= {
    f"condition: {case}": ({"filter": passage_pb2.Filter(conditions=[condition])}, "BAD_FILTER")
    for case, condition in CONDITIONS.items()
}


@pytest.mark.parametrize("case", BAD)
async def test_bad_input_is_refused_with_its_reason(room: Retriever, tenant: str, case: str) -> None:
    fields, expected = BAD[case]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await room.retrieve(tenant, **{"query": "water", **fields})
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason(caught.value) == expected


async def test_the_longest_query_is_answered(room: Retriever, tenant: str) -> None:
    await room.index(tenant, "manual", TEXTS)
    assert len(await room.hits(tenant, "water " * 1365)) == 4
