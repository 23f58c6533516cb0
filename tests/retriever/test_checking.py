"""What became of documents: one reading of the catalogue for those who keep what was made from them."""

from __future__ import annotations

import grpc
import pytest

from rag.runtime.redis import open_redis
from rag.v1 import retriever_pb2 as pb
from services.retriever.adapters.redis_checks import RedisChecks
from services.retriever.checking import Checking, Reading
from services.retriever.opening import Index
from services.retriever.passages import Model
from tests.retriever.room import Retriever, of, reason

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def check(room: Retriever, tenant: str, *versions: tuple[str, int], since: int | None = None):
    asked = [pb.DocumentVersion(document_id=document_id, version=version) for document_id, version in versions]
    request = pb.CheckDocumentsRequest(versions=asked, since_commit=since)
    return await room.stub.CheckDocuments(request, metadata=of(tenant), timeout=20)


def gone(told: pb.CheckDocumentsResponse) -> set[tuple[str, int]]:
    return {(one.document_id, one.version) for one in told.gone}


async def test_the_state_is_another_after_each_commit_and_each_deletion_of_the_tenant(
    room: Retriever, tenant: str
) -> None:
    before = await check(room, tenant)
    await room.index(tenant, "d1", ["water"])
    committed = await check(room, tenant)
    await room.index(f"{tenant}-2", "d1", ["water"])
    assert await check(room, tenant) == committed
    await room.delete(tenant, "d1")
    deleted = await check(room, tenant)
    assert len({before.state, committed.state, deleted.state}) == 3
    assert [before.commits, committed.commits, deleted.commits] == [0, 1, 1]
    assert before.index == committed.index == deleted.index


async def test_versions_that_are_not_live_are_gone(room: Retriever, tenant: str) -> None:
    first = await room.index(tenant, "d1", ["water"])
    kept = await room.index(tenant, "d2", ["stone"])
    second = await room.index(tenant, "d1", ["more water"])
    asked = [("d1", first.version), ("d1", second.version), ("d2", kept.version), ("d3", 1)]
    assert gone(await check(room, tenant, *asked)) == {("d1", first.version), ("d3", 1)}
    assert gone(await check(room, f"{tenant}-2", *asked)) == set(asked)
    await room.delete(tenant, "d2")
    assert gone(await check(room, tenant, *asked)) == {("d1", first.version), ("d2", kept.version), ("d3", 1)}


async def test_documents_committed_since_are_told_newest_first(room: Retriever, tenant: str) -> None:
    for name in ("d1", "d2", "d3"):
        await room.index(tenant, name, ["water"])
    assert list((await check(room, tenant)).committed) == []
    assert list((await check(room, tenant, since=0)).committed) == ["d3", "d2", "d1"]
    assert list((await check(room, tenant, since=1)).committed) == ["d3", "d2"]
    assert list((await check(room, tenant, since=3)).committed) == []
    await room.index(tenant, "d1", ["more water"])
    await room.delete(tenant, "d2")
    told = await check(room, tenant, since=2)
    assert (list(told.committed), told.commits, told.has_more) == (["d1", "d3"], 4, False)


async def test_no_more_than_a_hundred_documents_are_told(redis_url: str, tenant: str) -> None:
    async with open_redis(redis_url) as redis:
        await redis.zadd(f"rag:{tenant}:documents", {f"d{number}": number for number in range(1, 151)})
        await redis.set(f"rag:{tenant}:commits", 150)
        checking = Checking(RedisChecks(redis), index, "")
        many, few = await checking.check(tenant, (), 49), await checking.check(tenant, (), 50)
    assert (many.committed[0], len(many.committed), many.has_more) == ("d150", 100, True)
    assert (len(few.committed), few.has_more) == (100, False)


@pytest.mark.parametrize(
    ("versions", "expected"),
    [([("no spaces", 1)], "BAD_ID"), ([("", 1)], "BAD_ID"), ([("d", 1)] * 101, "TOO_MANY_VERSIONS")],
)
async def test_what_is_not_well_formed_is_refused(room: Retriever, tenant: str, versions, expected: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await check(room, tenant, *versions)
    assert (caught.value.code(), reason(caught.value)) == (grpc.StatusCode.INVALID_ARGUMENT, expected)


def index() -> Index:
    return Index("passages_1", Model("words", "r1", 32), "plain")


class Catalogue:
    run = "a"

    async def check(self, tenant, versions, since, limit) -> Reading:
        return Reading(f"{self.run}/1", 1, (), ())


async def test_the_index_has_another_name_when_passages_are_found_in_another_way_or_the_store_began_anew() -> None:
    other = Index("passages_2", Model("words", "r1", 32), "plain")
    analyzed = Index("passages_1", Model("words", "r1", 32), "multilingual")
    restarted = Catalogue()
    restarted.run = "b"
    ways = [
        Checking(Catalogue(), index, ""),
        Checking(Catalogue(), lambda: other, ""),
        Checking(Catalogue(), lambda: analyzed, ""),
        Checking(Catalogue(), index, "tei/40"),
        Checking(restarted, index, ""),
    ]
    names = [(await way.check("t", (), None)).index for way in ways]
    assert len(set(names)) == len(ways)
    assert (await Checking(Catalogue(), index, "").check("t", (), None)).index == names[0]
