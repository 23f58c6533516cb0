"""The order of contents: what is later stays, whoever writes it and whenever the writer comes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag.ids import new_id
from rag.runtime.errors import Conflict
from rag.runtime.redis import open_redis
from rag.v1 import retriever_pb2 as pb
from services.retriever.adapters.redis_catalogue import RedisCatalogue
from services.retriever.adapters.redis_deletions import RedisDeletions
from services.retriever.adapters.redis_versions import RedisVersions
from services.retriever.indexing import Writing
from services.retriever.parts import Commit, Header
from services.retriever.passages import Model
from tests.retriever.room import Retriever, batch, commit, document, header, of, reason

in_module = pytest.mark.asyncio(loop_scope="module")
NOW = 1_800_000_000_000_000


async def refused(room: Retriever, tenant: str, parts: list) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await room.send(tenant, parts)
    assert caught.value.code() is grpc.StatusCode.ABORTED
    return reason(caught.value)


@in_module
async def test_older_content_never_replaces_newer(room: Retriever, tenant: str) -> None:
    made = await room.index(tenant, "d1", ["new water"], accepted_us=NOW + 5)
    assert await refused(room, tenant, [header("d1", accepted_us=NOW + 4)]) == "VERSION_SUPERSEDED"
    again = await room.index(tenant, "d1", ["newer water"], accepted_us=NOW + 5)
    assert again.version > made.version
    assert await room.found(tenant, "water") == ["newer water"]


@in_module
@pytest.mark.parametrize("step", [batch(["old water"], first=1), commit(1)], ids=["batch", "commit"])
async def test_a_version_that_newer_content_overtook_is_refused_at_its_next_step(
    room: Retriever, tenant: str, step: pb.IndexRequest
) -> None:
    early = room.stub.Index(metadata=of(tenant), timeout=30)
    await early.write(header("d1", accepted_us=NOW))
    await early.write(batch(["old stone"]))
    await early.read()
    await room.index(tenant, "d1", ["new water"], accepted_us=NOW + 1)
    await early.write(step)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await early.read()
    assert reason(caught.value) == "VERSION_SUPERSEDED"


@in_module
async def test_content_accepted_before_a_deletion_stays_deleted(room: Retriever, tenant: str) -> None:
    await room.index(tenant, "d1", ["water"])
    async with open_redis(room.redis_url) as redis:
        seconds, micros = await redis.time()
    before = seconds * 1_000_000 + micros
    await room.delete(tenant, "d1")
    assert await refused(room, tenant, [header("d1", accepted_us=before)]) == "VERSION_SUPERSEDED"
    await room.index(tenant, "d1", ["late water"], accepted_us=before + 60_000_000)
    assert await room.found(tenant, "water") == ["late water"]


@in_module
async def test_a_newer_writer_of_the_same_work_fences_the_older(room: Retriever, tenant: str) -> None:
    paused = room.stub.Index(metadata=of(tenant), timeout=30)
    await paused.write(header("d1", accepted_us=NOW, fence=1))
    await paused.write(batch(["water"]))
    await paused.read()
    successor = room.stub.Index(metadata=of(tenant), timeout=30)
    await successor.write(header("d1", accepted_us=NOW, fence=2))
    await successor.write(batch(["water"]))
    await successor.read()
    await paused.write(commit(1))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await paused.read()
    assert reason(caught.value) == "STALE_WRITER"
    assert await refused(room, tenant, [header("d1", accepted_us=NOW, fence=1)]) == "STALE_WRITER"
    await successor.write(commit(1))
    await successor.read()
    assert await refused(room, tenant, [header("d1", accepted_us=NOW, fence=1)]) == "STALE_WRITER"
    await room.index(tenant, "d1", ["other water"], accepted_us=NOW + 1, fence=1)
    await room.erased()
    assert await room.row_count(tenant) == 1


@in_module
async def test_the_fingerprint_is_kept_with_the_document(room: Retriever, tenant: str) -> None:
    made = await room.index(tenant, "d1", ["water"], fingerprint="f" * 128)
    assert made.fingerprint == (await room.get(tenant, "d1")).fingerprint == "f" * 128
    assert (await room.index(tenant, "d1", ["water"])).fingerprint == ""


@in_module
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"fingerprint": "f" * 129}, "BAD_FINGERPRINT"),
        ({"accepted_us": 2**53}, "BAD_ORDER"),
        ({"fence": 2**64 - 1}, "BAD_ORDER"),
    ],
)
async def test_an_order_out_of_range_is_refused(room: Retriever, tenant: str, fields: dict, expected: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await room.send(tenant, [header("d1", **fields)])
    assert reason(caught.value) == expected


@in_module
async def test_revoked_work_never_goes_live_and_its_rows_are_erased(room: Retriever, tenant: str) -> None:
    writing = room.stub.Index(metadata=of(tenant), timeout=30)
    await writing.write(header("d1", accepted_us=NOW))
    await writing.write(batch(["lost water"]))
    await writing.read()
    for _ in range(2):
        assert await room.revoke(tenant, "d1", NOW) == 0
    await writing.write(commit(1))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await writing.read()
    assert reason(caught.value) == "VERSION_SUPERSEDED"
    assert await refused(room, tenant, document("d1", ["lost water"], accepted_us=NOW)) == "VERSION_SUPERSEDED"
    await room.erased()
    assert await room.row_count(tenant) == 0


@in_module
async def test_work_that_is_live_is_not_revoked(room: Retriever, tenant: str) -> None:
    made = await room.index(tenant, "d1", ["water"], accepted_us=NOW)
    assert await room.revoke(tenant, "d1", NOW) == made.version
    assert await room.revoke(tenant, "d1", NOW + 1) == 0
    assert await room.found(tenant, "water") == ["water"]
    for bad in (0, 2**53):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await room.revoke(tenant, "d1", bad)
        assert reason(caught.value) == "BAD_ORDER"


def head(accepted_us: int, fence: int = 0) -> Header:
    return Header("d", "n", "text/plain", "0" * 64, 1, {}, Model("m", "r", 2), accepted_us, fence)


async def test_of_a_revocation_and_a_commit_exactly_one_wins(redis) -> None:
    versions, catalogue = RedisVersions(redis, lease_s=60), RedisCatalogue(redis)
    for turn in range(200):
        tenant = new_id("t")
        writing = await versions.open(tenant, head(NOW), "c")

        async def commit_it(tenant: str = tenant, writing: Writing = writing, late: int = turn % 7) -> bool:
            for _ in range(late):
                await asyncio.sleep(0)
            return await succeeds(versions.commit(tenant, head(NOW), writing, Commit(1, 1, "")))

        committed, revoked = await asyncio.gather(commit_it(), versions.revoke(tenant, "d", NOW))
        live = await catalogue.get(tenant, "d")
        assert committed == (live is not None) == (revoked == writing.version)
        assert committed or revoked == 0


Step = tuple[str, int, int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.integers(1, 4), st.integers(1, 3)),
        st.tuples(st.sampled_from(["commit", "abandon"]), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("revoke"), st.integers(1, 4), st.just(0)),
        st.tuples(st.just("delete"), st.just(0), st.just(0)),
    ),
    min_size=1,
    max_size=25,
)


@dataclass
class Order:
    """What must hold, in a few lines."""

    live: int = 0
    live_version: int = 0
    revoked: set[int] = field(default_factory=set)
    fences: dict[int, int] = field(default_factory=dict)
    given_up: set[int] = field(default_factory=set)

    def allows(self, accepted: int, fence: int) -> bool:
        return accepted >= self.live and accepted not in self.revoked and fence >= self.fences.get(accepted, 0)

    def commits(self, accepted: int, fence: int, version: int) -> bool:
        if version == self.live_version:
            return True  # the answer of the first try was lost
        overtaken = version < self.live_version or version in self.given_up
        return self.allows(accepted, fence) and not overtaken


async def succeeds(work: Awaitable[object]) -> bool:
    try:
        await work
    except Conflict:
        return False
    return True


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_any_sequence_of_steps_keeps_the_order(redis_url: str, steps: list[Step]) -> None:
    tenant, order, base = new_id("t"), Order(), NOW
    written: list[tuple[Header, Writing]] = []
    async with open_redis(redis_url) as redis:
        versions, catalogue, deletions = RedisVersions(redis, 60), RedisCatalogue(redis), RedisDeletions(redis)

        async def open_(accepted: int, fence: int) -> None:
            written.append(
                (head(base + accepted, fence), await versions.open(tenant, head(base + accepted, fence), "c"))
            )

        for act, number, fence in steps:
            if act == "open":
                assert await succeeds(open_(number, fence)) == order.allows(number, fence)
                if order.allows(number, fence):
                    order.fences[number] = fence
            elif act == "revoke":
                assert await versions.revoke(tenant, "d", base + number) == (order.live == number) * order.live_version
                if order.live != number:
                    order.revoked.add(number)
            elif act == "delete":
                assert (await deletions.delete(tenant, "d")).version == order.live_version
                base, order, written = base + 100, Order(), []
            elif written:
                opened, writing = written[number % len(written)]
                accepted, version = opened.accepted_us - base, writing.version
                if act == "abandon":
                    await versions.abandon(tenant, "d", version)
                    order.given_up.add(version)
                    continue
                expected = order.commits(accepted, opened.fence, version)
                assert await succeeds(versions.commit(tenant, opened, writing, Commit(1, 1, ""))) == expected
                if expected:
                    order.live, order.live_version = accepted, version
                else:
                    order.given_up.add(version)
            live = await catalogue.get(tenant, "d")
            assert (live.version if live else 0) == order.live_version
