"""The cache of rankings: an answer from it is the answer that a search would give, at every moment."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.catalogue_state import changes_key
from rag.runtime.redis import open_redis
from rag.v1 import passage_pb2
from rag.v1 import retriever_pb2 as pb
from services.retriever.adapters.redis_catalogue import RedisCatalogue
from services.retriever.adapters.redis_keys import document_key
from services.retriever.adapters.redis_retrievals import RedisRetrievals, decoded, encoded
from services.retriever.opening import name_index
from services.retriever.passages import Model, Place
from services.retriever.retrieval.caching import Kept, Ranking, key_of
from services.retriever.retrieval.filters import AnyOf, Condition, Equals, Filter, NotEquals, Within
from services.retriever.retrieval.query import Mode, Query
from services.retriever.retrieval.ranking import Ranked
from services.retriever.retrieval.unchanged import Answer, Live
from tests.retriever.room import LetterEmbedder, Retriever, embedder, fresh_database, of, retriever, value
from tests.waiting import until

TEXTS = ["the pump is running hot", "a valve leaks water", "the bridge is made of stone", "apples grow on trees"]
MODES = [pb.RETRIEVAL_MODE_HYBRID, pb.RETRIEVAL_MODE_DENSE, pb.RETRIEVAL_MODE_KEYWORD]


@dataclass
class GatedEmbedder(LetterEmbedder):
    """Waits before it answers for as long as the gate is shut."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def Embed(self, request, context):
        self.asked.extend(request.texts)
        await self.gate.wait()
        self.asked = self.asked[: -len(request.texts)]
        async for answer in super().Embed(request, context):
            yield answer


@pytest.fixture
def words() -> GatedEmbedder:
    double = GatedEmbedder()
    double.gate.set()
    return double


@pytest.fixture
async def room(redis_url: str, tmp_path: Path, words: GatedEmbedder):
    async with embedder(words) as port, retriever(tmp_path, await fresh_database(redis_url), port) as running:
        await until(running.room.is_ready)
        yield running


async def answered(room: Retriever, tenant: str, query: str, **fields) -> tuple[list[pb.Hit], pb.RetrieveSummary]:
    events = await room.retrieve(tenant, query, **fields)
    return [event.hit for event in events if event.HasField("hit")], events[-1].summary


@pytest.mark.parametrize("mode", MODES)
async def test_an_answer_from_the_cache_is_the_same_answer(
    room: Retriever, tenant: str, words: GatedEmbedder, mode: pb.RetrievalMode
) -> None:
    await room.index(tenant, "manual", TEXTS, title="The manual")
    await room.index(tenant, "other", ["water under the bridge"])
    first, before = await answered(room, tenant, "water bridge", mode=mode)
    asked = len(words.asked)
    again, after = await answered(room, tenant, " water bridge\n", mode=mode)
    assert (again, bool(first)) == (first, True)
    assert (before.from_cache, after.from_cache) == (False, True)
    assert (after.dense_candidates, after.keyword_candidates) == (before.dense_candidates, before.keyword_candidates)
    assert after.embedding_ms == 0
    assert len(words.asked) == asked


async def test_finding_nothing_is_remembered_too(room: Retriever, tenant: str) -> None:
    for from_cache in (False, True):
        hits, summary = await answered(room, tenant, "water")
        assert (hits, summary.from_cache) == ([], from_cache)
    await room.index(tenant, "new", ["water"])
    assert await room.found(tenant, "water") == ["water"]


async def test_a_caller_may_go_past_the_cache(room: Retriever, tenant: str) -> None:
    await room.index(tenant, "d1", ["water"])
    for _ in range(2):
        _, summary = await answered(room, tenant, "water", use_cache=False)
        assert not summary.from_cache
    _, summary = await answered(room, tenant, "water")
    assert not summary.from_cache


async def test_what_is_committed_or_deleted_is_seen_at_once(room: Retriever, tenant: str) -> None:
    async def found() -> list[str]:
        texts = await room.found(tenant, "water")
        assert sorted(await room.found(tenant, "water")) == sorted(texts)
        return sorted(texts)

    await room.index(tenant, "a", ["the water of a"])
    assert await found() == ["the water of a"]
    await room.index(tenant, "b", ["the water of b"])
    assert await found() == ["the water of a", "the water of b"]
    await room.index(tenant, "a", ["new water in a"])
    assert await found() == ["new water in a", "the water of b"]
    await room.delete(tenant, "b")
    assert await found() == ["new water in a"]
    await room.delete(tenant, "a")
    assert await found() == []
    await room.index(tenant, "a", ["water once more"])
    assert await found() == ["water once more"]


async def test_other_parameters_are_another_question(room: Retriever, tenant: str) -> None:
    await room.index(tenant, "a", TEXTS, metadata={"k": value("v")})
    condition = passage_pb2.Condition(key="k", equals=value("v"))
    different = [
        {},
        {"top_k": 3},
        {"min_score": 0.1},
        {"mode": pb.RETRIEVAL_MODE_DENSE},
        {"per_document": 2},
        {"filter": passage_pb2.Filter(document_ids=["a"])},
        {"filter": passage_pb2.Filter(conditions=[condition])},
    ]
    for fields in different:
        assert not (await answered(room, tenant, "water", **fields))[1].from_cache
    for fields in different:
        assert (await answered(room, tenant, "water", **fields))[1].from_cache


async def test_a_tenant_gets_nothing_from_the_cache_of_another(room: Retriever, tenant: str) -> None:
    other = f"{tenant}-b"
    await room.index(tenant, "same", ["the secret pump"])
    await room.index(other, "same", ["the secret valve"])
    for _ in range(2):
        assert await room.found(tenant, "secret") == ["the secret pump"]
        assert await room.found(other, "secret") == ["the secret valve"]


async def test_the_cache_holds_ids_and_numbers_and_forgets_by_itself(room: Retriever, tenant: str) -> None:
    await room.index(tenant, "manual", ["a confidential pump"], title="Confidential")
    await room.hits(tenant, "confidential pump")
    async with open_redis(room.redis_url) as redis:
        [key] = [key async for key in redis.scan_iter(f"rag:{tenant}:retrieval:*")]
        kept = await redis.get(key)
        assert b"manual" in kept
        assert b"onfidential" not in key + kept
        assert 0 < await redis.ttl(key) <= 600


async def test_what_the_cache_holds_may_be_anything(room: Retriever, tenant: str) -> None:
    await room.index(tenant, "manual", TEXTS)
    expected = await room.hits(tenant, "water")
    async with open_redis(room.redis_url) as redis:
        [key] = [key async for key in redis.scan_iter(f"rag:{tenant}:retrieval:*")]
        kept = await redis.get(key)
        other = kept.replace(b'"manual",1', b'"manual",9')
        for nonsense in (b"", b"x", b"[]", b"null", b"[1,2,3,[],[[0,0,1,1,1,1]]]", b"\xff", kept[:-5], other):
            await redis.set(key, nonsense)
            assert await room.hits(tenant, "water") == expected
        await redis.delete(key)
        await redis.lpush(key, "another type")
        assert await room.hits(tenant, "water") == expected


async def test_a_search_that_a_commit_overtook_does_not_fill_the_cache_with_old_things(
    room: Retriever, tenant: str, words: GatedEmbedder
) -> None:
    await room.index(tenant, "a", ["water in a"])
    words.gate.clear()
    overtaken = asyncio.create_task(room.found(tenant, "water"))
    await until(lambda: words.asked == ["water"])
    await room.index(tenant, "b", ["water in b"])
    # Equal to the one that is running, but it has seen the commit, and must find it.
    own = asyncio.create_task(room.found(tenant, "water"))
    await until(lambda: words.asked == ["water"] * 2)
    words.gate.set()
    await overtaken
    assert sorted(await own) == sorted(await room.found(tenant, "water")) == ["water in a", "water in b"]


async def test_equal_searches_at_the_same_time_are_one(room: Retriever, tenant: str, words: GatedEmbedder) -> None:
    await room.index(tenant, "a", TEXTS)
    words.gate.clear()
    searches = [asyncio.create_task(answered(room, tenant, "water")) for _ in range(20)]
    others = [
        asyncio.create_task(answered(room, f"{tenant}-b", "water")),
        asyncio.create_task(answered(room, tenant, "stone")),
    ]
    await until(lambda: len(words.asked) == 3)
    words.gate.set()
    hits = [found for found, _ in await asyncio.gather(*searches)]
    assert all(found == hits[0] for found in hits)
    assert len(hits[0]) == 4
    assert (await others[0])[0] == []
    await others[1]
    assert sorted(words.asked) == ["stone", "water", "water"]


async def test_a_caller_who_leaves_takes_the_shared_search_from_nobody(
    room: Retriever, tenant: str, words: GatedEmbedder
) -> None:
    await room.index(tenant, "a", ["water"])
    words.gate.clear()
    first, *others = [asyncio.create_task(room.found(tenant, "water")) for _ in range(4)]
    await until(lambda: words.asked == ["water"])
    first.cancel()
    await asyncio.wait({first})
    words.gate.set()
    assert await asyncio.gather(*others) == [["water"]] * 3


WORDS = [f"w{number}" for number in range(6)]


@pytest.mark.parametrize("seed", range(6))
async def test_at_every_moment_the_cache_answers_as_the_documents_are(room: Retriever, tenant: str, seed: int) -> None:
    choice = random.Random(seed)
    documents: dict[str, list[str]] = {}
    for step in range(60):
        name = f"d{choice.randrange(4)}"
        match choice.choices(["index", "delete", "query"], [2, 1, 6])[0]:
            case "index":
                texts = [
                    f"{choice.choice(WORDS)} and {choice.choice(WORDS)} of {name} in step{step} part{part} {seed}"
                    for part in range(choice.randrange(1, 4))
                ]
                await room.index(tenant, name, texts)
                documents[name] = texts
            case "delete" if name in documents:
                await room.delete(tenant, name)
                del documents[name]
            case "query":
                await check(room, tenant, documents, choice)


async def check(room: Retriever, tenant: str, documents: dict[str, list[str]], choice: random.Random) -> None:
    word, mode = choice.choice(WORDS), choice.choice(MODES)
    wanted = [text for texts in documents.values() for text in texts]
    if mode == pb.RETRIEVAL_MODE_KEYWORD:
        wanted = [text for text in wanted if word in text.split()]
    queries = [room.found(tenant, word, mode=mode, top_k=100) for _ in range(choice.randrange(1, 4))]
    for found in await asyncio.gather(*queries):
        assert sorted(found) == sorted(wanted)


INDEX = name_index(Model("words", "r1", 32), "multilingual")
numbers = st.floats(allow_nan=False, allow_infinity=False)
scores = st.none() | numbers
ranked = st.builds(
    Ranked,
    st.builds(Place, st.text(min_size=1, max_size=5), st.integers(1, 2**53), st.integers(0, 2**31)),
    numbers,
    scores,
    scores,
    scores,
)
rankings = st.builds(
    Ranking, st.integers(0, 2**53), st.lists(ranked, max_size=20), st.integers(0, 1000), st.integers(0, 1000)
)


@given(rankings)
def test_a_ranking_comes_back_as_it_was(ranking: Ranking) -> None:
    assert decoded(encoded(ranking)) == ranking


@given(st.binary(max_size=100) | st.text(alphabet='[]{}",0123456789.-eE:null', max_size=60).map(str.encode))
def test_any_bytes_are_a_ranking_or_none(kept: bytes) -> None:
    assert decoded(kept) is None or isinstance(decoded(kept), Ranking)


async def test_the_count_of_changes_is_read_with_the_ranking(redis, tenant: str) -> None:
    retrievals, ranking = RedisRetrievals(redis, 60), Ranking(3, [Ranked(Place("d", 1, 0), 0.5)], 1, 2)
    assert await retrievals.read(tenant, "k") == Kept(0, None)
    await retrievals.keep(tenant, "k", ranking)
    await redis.set(f"rag:{tenant}:changes", 4)
    assert await retrievals.read(tenant, "k") == Kept(4, ranking)
    assert await RedisRetrievals(redis, 0).read(tenant, "k") == Kept(4, None)
    await RedisRetrievals(redis, 0).keep(tenant, "other", ranking)
    assert await redis.exists(f"rag:{tenant}:retrieval:other") == 0


async def test_all_rankings_of_one_tenant_are_forgotten(redis, tenant: str) -> None:
    retrievals, ranking = RedisRetrievals(redis, 60), Ranking(3, [Ranked(Place("d", 1, 0), 0.5)], 1, 2)
    for number in range(1_100):
        await retrievals.keep(tenant, f"k{number}", ranking)
    await retrievals.keep(f"{tenant}-other", "k", ranking)
    await redis.delete(f"rag:{tenant}:retrieval:k7")  # as when its time is over
    assert await retrievals.forget(tenant) == 1_099
    assert await retrievals.forget(tenant) == 0
    assert [key async for key in redis.scan_iter(f"rag:{tenant}:retrieval*", 1_000)] == [
        f"rag:{tenant}:retrievals_epoch".encode()
    ]
    assert (await retrievals.read(f"{tenant}-other", "k")).ranking == ranking


async def test_a_ranking_in_the_making_is_not_kept_after_forgetting(redis, tenant: str) -> None:
    retrievals, ranking = RedisRetrievals(redis, 60), Ranking(0, [Ranked(Place("d", 1, 0), 0.5)], 1, 2)
    for _ in range(2):
        before = await retrievals.read(tenant, "k")
        await retrievals.forget(tenant)
        await retrievals.keep(tenant, "k", ranking, before.epoch)
        after = await retrievals.read(tenant, "k")
        assert after.ranking is None
        await retrievals.keep(tenant, "k", ranking, after.epoch)
        assert (await retrievals.read(tenant, "k")).ranking == ranking


async def test_rankings_whose_time_is_over_leave_the_set(redis, tenant: str) -> None:
    ranking = Ranking(0, [Ranked(Place("d", 1, 0), 0.5)], 1, 2)
    await redis.zadd(f"rag:{tenant}:retrievals", {"old": 1})
    await RedisRetrievals(redis, 60).keep(tenant, "k", ranking)
    assert await redis.zrange(f"rag:{tenant}:retrievals", 0, -1) == [b"k"]
    assert 0 < await redis.ttl(f"rag:{tenant}:retrievals") <= 60


async def test_forgotten_rankings_are_searched_for_anew(room: Retriever, tenant: str) -> None:
    await room.index(tenant, "d1", ["water"])
    await answered(room, tenant, "water")
    said = await room.stub.ForgetRankings(pb.ForgetRankingsRequest(), metadata=of(tenant))
    _, summary = await answered(room, tenant, "water")
    assert (said.forgotten, summary.from_cache) == (1, False)


def test_equal_questions_have_one_key() -> None:
    one = Filter(("a", "b"), (Condition("k", AnyOf(("x", "y"))), Condition("n", Within(1.0, None))))
    other = Filter(("b", "a", "a"), (Condition("n", Within(1.0, None)), Condition("k", AnyOf(("y", "x", "x")))))
    assert key_of(Query("q", filter=one), INDEX, "") == key_of(Query("q", filter=other), INDEX, "")


def test_different_questions_have_different_keys() -> None:
    plain = Query("q")
    conditions = [
        Condition("k", test)
        for test in (
            *(Equals(scalar) for scalar in ("1", 1.0, True, "True", "x', 'y")),
            NotEquals("1"),
            *(AnyOf(values) for values in (("1",), (1.0,), (True,), ("x", "y"), ("x', 'y",))),
            *(Within(*bounds) for bounds in ((1.0, None), (None, 1.0), (1.0, 1.0))),
        )
    ]
    queries = [
        plain,
        Query("Q"),
        replace(plain, top_k=9),
        replace(plain, mode=Mode.DENSE),
        replace(plain, min_score=0.0),
        replace(plain, per_document=1),
        replace(plain, filter=Filter(("a",))),
        *(replace(plain, filter=Filter((), (condition,))) for condition in conditions),
    ]
    keys = [key_of(query, INDEX, "") for query in queries]
    keys += [key_of(plain, INDEX, "a"), key_of(plain, name_index(INDEX.model, "plain"), "")]
    assert len(set(keys)) == len(keys)


async def test_live_versions_are_told_with_the_state_that_a_change_ends(redis, tenant: str) -> None:
    catalogue = RedisCatalogue(redis)
    await redis.hset(document_key(tenant, "a"), mapping={"version": 7, "title": "", "name": 'Ä "b".txt'})
    await redis.hset(document_key(tenant, "b"), mapping={"version": 2**53 - 1, "title": "B", "name": "b.txt"})
    first = await catalogue.live(tenant, ["a", "gone", "b"])
    assert first.versions == {"a": Live(7, 'Ä "b".txt'), "b": Live(2**53 - 1, "B")}
    assert await catalogue.live(tenant, ["a"], first.state) == Answer(first.state, {"a": first.versions["a"]})
    assert await catalogue.live(tenant, [], first.state) == Answer(first.state, {})
    await redis.incr(changes_key(tenant))
    later = await catalogue.live(tenant, ["a"], first.state)
    assert later.state != first.state
    assert later.versions == {}
