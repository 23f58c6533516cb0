"""Searches go on, and say what they go without, when the embedder, Redis or the index is away, hangs or does not fit."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.runtime import context
from rag.runtime.context import CallContext
from rag.runtime.errors import Unavailable
from rag.runtime.redis import open_redis
from rag.v1 import retriever_pb2 as pb
from services.retriever.retrieval.contact import Contact
from services.retriever.retrieval.last_known import LastKnown
from services.retriever.retrieval.unchanged import Answer, Live, Unchanged
from tests.clock import Clock
from tests.process_table import stop
from tests.redis_server import running_redis
from tests.retriever.room import LetterEmbedder, Retriever, document, embedder, header, of, reason, retriever
from tests.waiting import until


@dataclass
class HangingEmbedder(LetterEmbedder):
    """Hangs when it is told to."""

    hangs: bool = False
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def Embed(self, request, context):
        if self.hangs:
            await self.left.wait()
        async for answer in super().Embed(request, context):
            yield answer


class OwnRedis:
    """A Redis that may be harmed."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._running: list = []
        self.url = ""

    def start(self) -> None:
        running = running_redis(self._folder)
        self.url = running.__enter__()
        self._running.append(running)

    async def process(self) -> psutil.Process:
        async with open_redis(self.url) as client:
            return psutil.Process((await client.info("server"))["process_id"])

    def end(self) -> None:
        while self._running:
            self._running.pop().__exit__(None, None, None)


@contextmanager
def short_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rag") as folder:
        yield Path(folder)


@pytest.fixture
def own_redis() -> Iterator[OwnRedis]:
    with short_folder() as folder:
        own = OwnRedis(folder)
        own.start()
        yield own
        own.end()


@pytest.fixture
def words() -> HangingEmbedder:
    return HangingEmbedder()


@pytest.fixture
async def room(own_redis: OwnRedis, tmp_path: Path, words: HangingEmbedder) -> AsyncGenerator[Retriever, None]:
    async with embedder(words) as port, retriever(tmp_path, own_redis.url, port) as running:
        await until(running.room.is_ready)
        yield running
        words.left.set()


async def answered(room: Retriever, tenant: str, query: str, timeout: float = 30, **fields):
    """Return the texts found, and the notices."""
    call = room.stub.Retrieve(pb.RetrieveRequest(query=query, **fields), metadata=of(tenant), timeout=timeout)
    events = [event async for event in call]
    texts = sorted(event.hit.passage.text for event in events if event.HasField("hit"))
    return texts, [notice.code for notice in events[-1].summary.notices]


async def refusal(call) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), reason(caught.value)


async def test_a_hanging_embedder_leaves_time_for_the_words(
    room: Retriever, tenant: str, words: HangingEmbedder
) -> None:
    await room.index(tenant, "d1", ["water"])
    words.hangs = True
    for _ in range(2):  # what was degraded is not kept
        assert await answered(room, tenant, "water", timeout=4) == (["water"], ["KEYWORD_ONLY"])
    code, _ = await refusal(answered(room, tenant, "water", timeout=4, mode=pb.RETRIEVAL_MODE_DENSE))
    assert code in {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE}
    words.left.set()
    words.hangs = False
    assert await answered(room, tenant, "water") == (["water"], [])


async def test_what_the_cache_knows_needs_no_embedder(room: Retriever, tenant: str, words: HangingEmbedder) -> None:
    await room.index(tenant, "d1", ["water"])
    assert await answered(room, tenant, "water") == (["water"], [])
    words.hangs = True
    assert await answered(room, tenant, "water") == (["water"], [])


async def test_a_hanging_index_is_named_within_the_deadline(room: Retriever, tenant: str) -> None:
    await room.index(tenant, "d1", ["water"])
    await answered(room, tenant, "water")
    engine = room.engine()
    stop(engine.pid)
    try:
        modes = (pb.RETRIEVAL_MODE_HYBRID, pb.RETRIEVAL_MODE_DENSE, pb.RETRIEVAL_MODE_KEYWORD)
        for query in ("water", "another"):  # the first one comes from the cache, but its passages do not
            results = [refusal(answered(room, tenant, query, timeout=4, mode=mode)) for mode in modes for _ in range(2)]
            assert set(await asyncio.gather(*results)) == {(grpc.StatusCode.UNAVAILABLE, "INDEX_UNAVAILABLE")}
    finally:
        engine.resume()
    assert await answered(room, tenant, "water") == (["water"], [])


@pytest.mark.parametrize("harm", [signal.SIGKILL, signal.SIGSTOP])
async def test_without_redis_searches_go_on_with_what_was_known_last(
    room: Retriever, own_redis: OwnRedis, tenant: str, harm: signal.Signals
) -> None:
    await room.index(tenant, "kept", ["water kept"])
    await room.index(tenant, "changed", ["water that was"])
    await room.index(tenant, "deleted", ["water deleted"])
    assert len((await answered(room, tenant, "water"))[0]) == 3
    await room.index(tenant, "changed", ["water that is"])
    await room.delete(tenant, "deleted")
    redis = await own_redis.process()
    if harm is signal.SIGSTOP:
        stop(redis.pid)
    else:
        redis.kill()
    for mode in (pb.RETRIEVAL_MODE_HYBRID, pb.RETRIEVAL_MODE_DENSE, pb.RETRIEVAL_MODE_KEYWORD):
        # Known without a look at the catalogue since: this process wrote it.
        expected = (["water kept", "water that is"], ["CATALOGUE_STALE"])
        assert await answered(room, tenant, "water", timeout=5, mode=mode) == expected
    assert await room.room.is_ready()
    writes = [
        room.send(tenant, [header("new")]),
        room.delete(tenant, "kept"),
        room.get(tenant, "kept"),
    ]
    for write in writes:
        assert await refusal(write) == (grpc.StatusCode.UNAVAILABLE, "CATALOGUE_UNAVAILABLE")
    # Nobody knows whether it was deleted, so it is not shown.
    assert await answered(room, tenant, "water", timeout=5) == (["water that is"], ["CATALOGUE_STALE"])
    if harm is signal.SIGSTOP:
        redis.send_signal(signal.SIGCONT)
    else:
        redis.wait(10)
        own_redis.start()
    texts, notices = await answered(room, tenant, "water")
    assert (set(texts) - {"water kept"}, notices) == ({"water that is"}, [])
    await room.index(tenant, "new", ["water anew"])
    assert "water anew" in (await answered(room, tenant, "water"))[0]


async def test_documents_that_were_never_looked_up_are_not_shown_without_redis(
    own_redis: OwnRedis, tmp_path: Path, tenant: str
) -> None:
    async with embedder() as port:
        async with retriever(tmp_path, own_redis.url, port) as room:
            await until(room.room.is_ready)
            await room.index(tenant, "seen", ["water seen"])
            await room.index(tenant, "unseen", ["water elsewhere"])
        async with retriever(tmp_path, own_redis.url, port) as room:
            await until(room.room.is_ready)
            assert await room.found(tenant, "seen", mode=pb.RETRIEVAL_MODE_KEYWORD) == ["water seen"]
            (await own_redis.process()).kill()
            assert await answered(room, tenant, "water", timeout=5) == (["water seen"], ["CATALOGUE_STALE"])
            assert (await answered(room, f"{tenant}-b", "water", timeout=5))[0] == []


async def test_without_a_grace_searches_end_with_redis(own_redis: OwnRedis, tmp_path: Path, tenant: str) -> None:
    async with embedder() as port, retriever(tmp_path, own_redis.url, port, catalogue_grace_s=0) as room:
        await until(room.room.is_ready)
        await room.index(tenant, "d1", ["water"])
        await answered(room, tenant, "water")
        (await own_redis.process()).kill()
        expected = (grpc.StatusCode.UNAVAILABLE, "CATALOGUE_UNAVAILABLE")
        assert await refusal(answered(room, tenant, "water", timeout=5)) == expected
        with pytest.raises(Unavailable):
            await room.room.is_ready()


async def test_readers_and_writers_live_through_an_absence_of_redis(
    room: Retriever, own_redis: OwnRedis, tenant: str
) -> None:
    await room.index(tenant, "first", ["first water"])
    stop, seen, refusals = asyncio.Event(), set(), set()

    async def read(number: int) -> None:
        while not stop.is_set():
            texts, notices = await answered(room, tenant, f"water {number}")
            assert "first water" in texts
            seen.update(notices)

    async def write() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            try:
                await room.send(tenant, document(f"d{turn % 5}", [f"water {turn}"]))
            except grpc.aio.AioRpcError as error:
                refusals.add(error.code())

    tasks = [asyncio.create_task(work) for work in (*(read(number) for number in range(4)), write())]
    redis = await own_redis.process()
    redis.kill()
    redis.wait(10)
    await until(lambda: "CATALOGUE_STALE" in seen)
    own_redis.start()
    assert (await answered(room, tenant, "water"))[1] == []
    stop.set()
    await asyncio.gather(*tasks)
    assert refusals <= {grpc.StatusCode.UNAVAILABLE}


class Catalogue:
    """Answers, fails or hangs."""

    def __init__(self, **versions: int):
        self.versions = versions
        self.error: Exception | None = None
        self.hangs = False
        self.asked = 0
        self.asked_for: list[list[str]] = []

    async def live(self, tenant, document_ids, state):
        self.asked += 1
        self.asked_for.append(list(document_ids))
        if self.hangs:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        live = {name: Live(self.versions[name], name) for name in document_ids if name in self.versions}
        present = str(sum(self.versions.values()))
        return Answer(present, live if state in {"", present} else {})

    async def ping(self):
        await self.live("t", [], "")
        return True


async def test_what_was_known_last_counts_for_a_while_after_the_last_answer() -> None:
    now, catalogue = [100.0], Catalogue(a=1)
    known = LastKnown(catalogue, Contact(clock=lambda: now[0]), grace_s=60)
    assert (await known.live("t", ["a", "b"])).is_current
    catalogue.error = Unavailable("away", "AWAY")
    now[0] = 159.0
    reading = await known.live("t", ["a", "b"])
    assert (reading.versions, reading.is_current) == ({"a": Live(1, "a")}, False)
    assert await known.is_usable()
    now[0] = 161.0
    for question in (known.live("t", ["a"]), known.is_usable()):
        with pytest.raises(Unavailable):
            await question
    catalogue.error = None
    assert await known.is_usable()
    assert (await known.live("t", ["a"])).is_current


async def test_before_the_first_answer_nothing_is_known() -> None:
    catalogue = Catalogue()
    catalogue.error = Unavailable("away", "AWAY")
    with pytest.raises(Unavailable):
        await LastKnown(catalogue, Contact(), grace_s=60).live("t", ["a"])


async def test_one_asks_a_catalogue_that_hangs_and_the_others_wait_for_how_that_ends(clock: Clock) -> None:
    catalogue, contact = Catalogue(a=1), Contact(answer_s=0.05, probe_s=0.1)
    known = LastKnown(catalogue, contact, grace_s=60)
    await known.live("t", ["a"])
    catalogue.hangs = True
    assert not (await known.live("t", ["a"])).is_current
    readings = await asyncio.gather(*(known.live("t", ["a"]) for _ in range(10)))
    assert (catalogue.asked, [reading.is_current for reading in readings]) == (3, [False] * 10)
    catalogue.hangs = False
    readings = await asyncio.gather(*(known.live("t", ["a"]) for _ in range(10)))
    assert [reading.is_current for reading in readings] == [True] * 10
    assert not contact.is_lost


async def test_a_caller_who_leaves_while_it_asks_leaves_the_others_nothing_to_wait_for(clock: Clock) -> None:
    catalogue, contact = Catalogue(a=1), Contact(answer_s=0.05, probe_s=30)
    known = LastKnown(catalogue, contact, grace_s=60)
    await known.live("t", ["a"])
    catalogue.hangs = True
    await known.live("t", ["a"])
    probe = asyncio.create_task(known.live("t", ["a"]))
    await until(lambda: catalogue.asked == 3)
    other = asyncio.create_task(known.live("t", ["a"]))
    await asyncio.sleep(0)
    probe.cancel()
    assert not (await other).is_current
    catalogue.hangs = False
    assert (await known.live("t", ["a"])).is_current


async def test_that_a_hurried_caller_could_not_wait_says_nothing_about_the_catalogue(clock: Clock) -> None:
    catalogue, contact = Catalogue(a=1), Contact(answer_s=30)
    known = LastKnown(catalogue, contact, grace_s=60)
    await known.live("t", ["a"])
    catalogue.hangs = True

    async def hurried():
        context.use(CallContext("r", "t", asyncio.get_running_loop().time() + 0.1))
        return await known.live("t", ["a"])

    assert not (await asyncio.create_task(hurried())).is_current
    assert not contact.is_lost


async def test_what_is_remembered_is_bounded() -> None:
    catalogue = Catalogue(**{f"d{number}": 1 for number in range(10)})
    known = LastKnown(catalogue, Contact(), grace_s=60, most=3)
    await known.live("t", list(catalogue.versions))
    catalogue.error = Unavailable("away", "AWAY")
    assert set((await known.live("t", list(catalogue.versions))).versions) == {"d7", "d8", "d9"}


async def test_what_was_read_since_the_last_change_is_not_asked_for_again() -> None:
    catalogue = Catalogue(a=1, b=1)
    known = Unchanged(catalogue)
    for wanted in (["a"], ["a", "b", "gone"], ["gone", "b"]):
        told = await known.live("t", wanted)
        assert told.versions == {name: Live(1, name) for name in wanted if name != "gone"}
    assert catalogue.asked_for == [["a"], ["b", "gone"], []]
    assert not (await known.live("other", [])).versions


async def test_after_a_change_everything_is_read_again_in_one_reading() -> None:
    catalogue = Catalogue(a=1, b=1)
    known = Unchanged(catalogue)
    await known.live("t", ["a", "b"])
    catalogue.versions = {"a": 2, "gone": 1}
    told = await known.live("t", ["a", "b", "gone"])
    assert told.versions == {"a": Live(2, "a"), "gone": Live(1, "gone")}
    assert catalogue.asked_for == [["a", "b"], ["gone"], ["a", "b", "gone"]]


async def test_what_is_read_once_is_bounded_too() -> None:
    catalogue = Catalogue(**{f"d{number}": 1 for number in range(10)})
    known = Unchanged(catalogue, most=12)
    for tenant in ("t", "u"):
        assert len((await known.live(tenant, list(catalogue.versions))).versions) == 10
    for tenant, asked in (("u", 0), ("t", 10)):
        await known.live(tenant, list(catalogue.versions))
        assert len(catalogue.asked_for[-1]) == asked


EVENTS = st.lists(st.tuples(st.sampled_from(["commit", "delete", "read", "answer"]), st.integers(0, 3)), max_size=30)


@given(EVENTS)
def test_what_this_process_deleted_is_never_shown_whatever_answers_come_late(events: list[tuple[str, int]]) -> None:
    known = LastKnown(Catalogue(), Contact(), grace_s=60)
    version, live, late = 0, None, []
    for event, number in events:
        match event:
            case "commit":
                version += 1
                live = version
                known._learn(("t", "d"), Live(version, "d"))
            case "delete":
                known.deleted("t", "d", live or 0)
                live = None
            case "read":
                late.append(Live(live, "d") if live else None)
            case "answer" if late:
                known._learn(("t", "d"), late.pop(number % len(late)))
        entry = known._entries.get(("t", "d"))
        shown = entry.version if isinstance(entry, Live) else None
        assert shown in {None, live}
