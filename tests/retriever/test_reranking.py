"""Reranking: by a real HTTP server, skipped when that is away, slow or makes no sense."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from rag.passage import Passage
from rag.runtime.errors import Unavailable
from rag.v1 import retriever_pb2 as pb
from services.retriever.adapters.http_reranker import HttpReranker
from services.retriever.passages import Place, Row
from services.retriever.retrieval.picking import Picked
from services.retriever.retrieval.query import Notice
from services.retriever.retrieval.ranking import Ranked
from services.retriever.retrieval.reranking import Limits, Reranking
from tests.doubles.rerank_server import RerankServer, cohere, rerank_server, tei
from tests.retriever.room import Retriever, embedder, fresh_database, retriever
from tests.waiting import until

TEXTS = ["water in the pump", "water in the pipe zz", "water in the well z", "the water of the sea zzz"]
BEST = [TEXTS[3], TEXTS[1], TEXTS[2], TEXTS[0]]
SECRET = "secret-key-of-the-reranker"


@pytest.fixture
async def server():
    async with rerank_server() as running:
        yield running


@pytest.fixture
async def room(redis_url: str, tmp_path: Path, server: RerankServer):
    async with embedder() as port:
        fields = {"rerank_url": server.url, "rerank_timeout_s": 5.0, "rerank_api_key": SECRET}
        async with retriever(tmp_path, await fresh_database(redis_url), port, **fields) as running:
            await until(running.room.is_ready)
            yield running


async def answered(room: Retriever, tenant: str, **fields) -> tuple[list[pb.Hit], pb.RetrieveSummary, list[int]]:
    events = await room.retrieve(tenant, "water", **fields)
    stages = [event.progress.stage for event in events if event.HasField("progress")]
    return [event.hit for event in events if event.HasField("hit")], events[-1].summary, stages


async def test_the_rerankers_order_is_the_order_of_the_hits(room: Retriever, tenant: str, server: RerankServer) -> None:
    await room.index(tenant, "d1", TEXTS, title="The title")
    hits, summary, stages = await answered(room, tenant, top_k=3)
    assert [hit.passage.text for hit in hits] == BEST[:3]
    assert [(hit.rank, hit.rerank_score) for hit in hits] == [(1, 0.03), (2, 0.02), (3, 0.01)]
    assert all(hit.HasField("dense_score") for hit in hits)
    assert summary.rerank_ms > 0
    assert not summary.notices
    assert stages == [pb.RETRIEVAL_STAGE_EMBEDDING, pb.RETRIEVAL_STAGE_SEARCH, pb.RETRIEVAL_STAGE_RERANK]
    [request] = server.requests
    assert (request["query"], len(request["texts"]), request["truncate"]) == ("water", 4, True)
    assert server.headers[0]["authorization"] == f"Bearer {SECRET}"


async def test_a_reranked_answer_comes_from_the_cache_as_it_was(
    room: Retriever, tenant: str, server: RerankServer
) -> None:
    await room.index(tenant, "d1", TEXTS)
    first, _, _ = await answered(room, tenant)
    second, summary, _ = await answered(room, tenant)
    assert second == first
    assert summary.from_cache
    assert len(server.requests) == 1


async def test_a_caller_may_do_without_it(room: Retriever, tenant: str, server: RerankServer) -> None:
    await room.index(tenant, "d1", TEXTS)
    await answered(room, tenant)
    hits, summary, stages = await answered(room, tenant, rerank=False)
    assert not any(hit.HasField("rerank_score") for hit in hits)
    assert not summary.from_cache
    assert pb.RETRIEVAL_STAGE_RERANK not in stages
    assert len(server.requests) == 1


async def test_nothing_found_is_not_reranked(room: Retriever, tenant: str, server: RerankServer) -> None:
    hits, summary, _ = await answered(room, tenant)
    assert (hits, list(summary.notices), server.requests) == ([], [], [])


async def test_a_least_score_holds_before_the_reranker(room: Retriever, tenant: str, server: RerankServer) -> None:
    await room.index(tenant, "d1", ["water", "entirely different zzz"])
    hits, _, _ = await answered(room, tenant, min_score=0.9)
    assert [hit.passage.text for hit in hits] == ["water"]
    assert server.requests[0]["texts"] == ["water"]


NONSENSE = {
    "no JSON": b"<html>",
    "empty": b"",
    "null": b"null",
    "an object": b"{}",
    "numbers": b"[1, 2, 3, 4]",
    "too few": json.dumps(tei([1.0] * 3)).encode(),
    "too many": json.dumps(tei([1.0] * 5)).encode(),
    "twice the same": json.dumps([{"index": 0, "score": 1.0}] * 4).encode(),
    "an index below": json.dumps([{"index": at, "score": 1.0} for at in (-1, 0, 1, 2)]).encode(),
    "an index as text": json.dumps([{"index": str(at), "score": 1.0} for at in range(4)]).encode(),
    "NaN": json.dumps(tei([float("nan")] * 4)).encode(),
    "infinite": json.dumps(tei([float("inf"), 1, 1, 1])).encode(),
    "a huge number": b"[" + b",".join(b'{"index":%d,"score":1%s}' % (at, b"0" * 400) for at in range(4)) + b"]",
    "a score as object": json.dumps([{"index": at, "score": {}} for at in range(4)]).encode(),
    "nested without end": b"[" * 100_000,
    "without end": b" " * (2 * 1024 * 1024),
    "the other form": json.dumps(cohere([1.0] * 4)).encode(),
}


@pytest.mark.parametrize("case", NONSENSE)
async def test_an_answer_that_makes_no_sense_is_nobodys_ranking(server: RerankServer, case: str) -> None:
    server.body = NONSENSE[case]
    with pytest.raises(Unavailable) as caught:
        await scores(server, TEXTS)
    assert caught.value.reason == "BAD_RERANKING"


@pytest.mark.parametrize("status", [301, 400, 401, 404, 413, 429, 500, 503])
async def test_another_status_is_a_refusal(server: RerankServer, status: int) -> None:
    server.status = status
    with pytest.raises(Unavailable) as caught:
        await scores(server, TEXTS)
    assert caught.value.reason == "RERANKER_UNAVAILABLE"


async def scores(server: RerankServer, texts: list[str], api: str = "tei", model: str = ""):
    async with httpx.AsyncClient(timeout=5) as client:
        return await HttpReranker(client, server.url, api, model).scores("query", texts)


async def test_texts_go_in_batches_that_the_server_takes(server: RerankServer) -> None:
    texts = ["z" * (number % 7) for number in range(70)]
    assert await scores(server, texts) == [number % 7 / 100 for number in range(70)]
    assert sorted(len(request["texts"]) for request in server.requests) == [6, 32, 32]


@pytest.mark.parametrize("api", ["cohere", "jina"])
async def test_the_form_of_cohere_and_jina(server: RerankServer, api: str) -> None:
    server.answer = cohere
    assert await scores(server, ["z", "", "zz"], api, "a-model") == [0.01, 0, 0.02]
    assert server.requests == [{"model": "a-model", "query": "query", "documents": ["z", "", "zz"], "top_n": 3}]


MISDEEDS = {
    "hangs": {"hangs": True},
    "breaks off": {"breaks_off": True},
    "fails": {"status": 500},
    "talks nonsense": {"body": b"[]"},
}


@pytest.mark.parametrize("case", MISDEEDS)
async def test_a_reranker_that_fails_is_skipped_and_named(
    redis_url: str, tmp_path: Path, tenant: str, case: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with rerank_server(**MISDEEDS[case]) as server, embedder() as port:
        fields = {"rerank_url": server.url, "rerank_timeout_s": 0.3, "rerank_api_key": SECRET}
        async with retriever(tmp_path, await fresh_database(redis_url), port, **fields) as room:
            await until(room.room.is_ready)
            await room.index(tenant, "d1", TEXTS)
            plain, _, _ = await answered(room, tenant, rerank=False)
            for _ in range(2):
                hits, summary, _ = await answered(room, tenant)
                assert hits == plain
                assert [notice.code for notice in summary.notices] == ["RERANK_SKIPPED"]
                assert not summary.from_cache
    written = "".join(capfd.readouterr())
    assert SECRET not in written
    assert server.url not in written


async def test_it_is_skipped_within_the_callers_deadline(redis_url: str, tmp_path: Path, tenant: str) -> None:
    async with rerank_server(hangs=True) as server, embedder() as port:
        fields = {"rerank_url": server.url, "rerank_timeout_s": 60}
        async with retriever(tmp_path, await fresh_database(redis_url), port, **fields) as room:
            await until(room.room.is_ready)
            await room.index(tenant, "d1", TEXTS)
            call = room.stub.Retrieve(
                pb.RetrieveRequest(query="water"), metadata=(("x-rag-tenant", tenant),), timeout=8
            )
            events = [event async for event in call]
            assert [notice.code for notice in events[-1].summary.notices] == ["RERANK_SKIPPED"]


class Judge:
    """Fails as long as it is told to."""

    name = "judge"

    def __init__(self):
        self.fails = True
        self.asked = 0

    async def scores(self, query, texts):
        self.asked += 1
        if self.fails:
            raise Unavailable("away", "AWAY")
        return [float(len(texts) - at) for at in range(len(texts))]


PASSAGE = Passage(
    id="p", document_id="d", ordinal=0, text="text", heading="", page=0, char_start=0, char_end=4, token_count=1
)


async def test_after_failures_it_is_left_alone_for_a_while_and_then_tried_once() -> None:
    now, judge = [0.0], Judge()
    reranking = Reranking(judge, Limits(), pause_s=10, clock=lambda: now[0])
    picked = [Picked(Ranked(Place("d", 1, 0), 1.0), Row(PASSAGE, "title"))]

    async def ask() -> bool:
        return not isinstance(await reranking.rerank("query", picked), Notice)

    assert [await ask() for _ in range(10)] == [False] * 10
    assert judge.asked == 3
    now[0] = 11.0
    assert [await ask() for _ in range(3)] == [False] * 3
    assert judge.asked == 4
    now[0], judge.fails = 22.0, False
    assert [await ask() for _ in range(3)] == [True] * 3
    assert judge.asked == 7


async def test_a_search_that_is_left_while_it_tries_leaves_room_for_the_next() -> None:
    now, judge = [0.0], Judge()
    reranking = Reranking(judge, Limits(), pause_s=10, clock=lambda: now[0])
    picked = [Picked(Ranked(Place("d", 1, 0), 1.0), Row(PASSAGE, "title"))]
    for _ in range(3):
        await reranking.rerank("query", picked)
    now[0], asked, good = 11.0, asyncio.Event(), judge.scores

    async def never(query, texts):
        asked.set()
        await asyncio.Event().wait()

    judge.fails, judge.scores = False, never
    left = asyncio.create_task(reranking.rerank("query", picked))
    await asked.wait()
    judge.scores = good
    assert isinstance(await reranking.rerank("query", picked), Notice)
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    assert not isinstance(await reranking.rerank("query", picked), Notice)


async def test_equal_scores_keep_the_order_of_the_search() -> None:
    judge = Judge()
    judge.fails = False
    judge.scores = lambda query, texts: equal(texts)
    picked = [Picked(Ranked(Place("d", 1, at), 1.0), Row(PASSAGE, "title")) for at in range(5)]
    ranked = await Reranking(judge, Limits()).rerank("query", picked)
    assert [one.ranked.place.ordinal for one in ranked] == list(range(5))


async def equal(texts: list[str]) -> list[float]:
    return [0.5] * len(texts)
