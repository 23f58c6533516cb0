"""What every engine of the index promises: the embedded one, and a Milvus-compatible server over TCP."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import socket
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import numpy as np
import pytest
import pytest_asyncio
from pymilvus import AsyncMilvusClient
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc

from rag.passage import Passage
from rag.runtime.context import CallContext, bound
from rag.runtime.errors import Internal, RagError, Unavailable
from services.retriever.adapters.milvus_collection import MilvusCollection
from services.retriever.adapters.milvus_lite_child import MilvusLiteChild
from services.retriever.adapters.milvus_store import ALIAS, MilvusStore
from services.retriever.analysis import analyzer
from services.retriever.opening import Index
from services.retriever.parts import Batch
from services.retriever.passages import Model, Place, Scalar
from services.retriever.retrieval.filters import AnyOf, Condition, Equals, Filter, NotEquals, Within
from services.retriever.retrieval.legs import Scope
from tests.process_table import stop
from tests.retriever.milvus_server import COMMAND, MISSING, MilvusServer
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

DIMENSION = 8
MODEL = Model("model", "r1", DIMENSION)
KINDS = ["embedded", "server"]
NOWHERE = Filter()


@dataclass
class Engine:
    """An engine that can be harmed, and a store on it."""

    kind: str
    store: MilvusStore
    child: MilvusLiteChild | None = None
    server: MilvusServer | None = None

    async def die(self, number: signal.Signals) -> None:
        if self.server is not None:
            await self.server.stop(number)
            return
        os.kill(self.pid, number)
        await until(lambda: self.child is not None and self.child.pid is None)

    async def come_back(self) -> None:
        if self.server is not None:
            await self.server.start()

    @property
    def pid(self) -> int:
        process = self.server.process if self.server is not None else None
        pid = process.pid if process is not None else self.child and self.child.pid
        assert pid
        return pid


@asynccontextmanager
async def running(kind: str, folder: Path, timeout_s: float = 20.0) -> AsyncIterator[Engine]:
    async with AsyncExitStack() as stack:
        if kind == "server":
            if not COMMAND.exists():
                pytest.skip(MISSING)
            server = MilvusServer(folder)
            await server.start()
            stack.push_async_callback(server.stop)
            engine = Engine(kind, MilvusStore(at(server.uri), analyzer, timeout_s=timeout_s), server=server)
        else:
            child = MilvusLiteChild(folder)
            await child.open()
            stack.push_async_callback(child.close)
            store = MilvusStore(child.address, analyzer, timeout_s=timeout_s, database=child.database)
            engine = Engine(kind, store, child=child)
        stack.push_async_callback(engine.store.close)
        yield engine


def at(uri: str):
    async def address() -> str:
        return uri

    return address


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=KINDS)
async def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    """One engine for the module; each test has a tenant of its own."""
    async with running(request.param, tmp_path_factory.mktemp("milvus")) as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def index(engine: Engine) -> MilvusCollection:
    return await engine.store.open(named("passages_shared"))


@pytest_asyncio.fixture(loop_scope="module", params=KINDS)
async def alone(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    """An engine for one test that does it harm."""
    async with running(request.param, tmp_path / "milvus") as one:
        yield one


def named(name: str, analyzer_name: str = "plain") -> Index:
    return Index(name, MODEL, analyzer_name)


def vector(*values: float) -> np.ndarray:
    full = np.zeros(DIMENSION, dtype=np.float32)
    full[: len(values)] = values
    return full


def passages(document_id: str, texts: list[str], version: int = 1, first: int = 0) -> list[Passage]:
    return [
        Passage(
            id=f"p-{number}",
            document_id=document_id,
            version=version,
            ordinal=number,
            text=text,
            heading=f"Heading {number}",
            page=number + 1,
            char_start=10 * number,
            char_end=10 * number + len(text),
            token_count=3,
        )
        for number, text in enumerate(texts, first)
    ]


async def write(
    index: MilvusCollection,
    tenant: str,
    document_id: str,
    texts: list[str],
    vectors: list[np.ndarray] | None = None,
    *,
    version: int = 1,
    title: str = "",
    first: int = 0,
    **metadata: Scalar,
) -> list[Passage]:
    written = passages(document_id, texts, version, first)
    values = np.stack(vectors or [vector(1, number / 100) for number in range(len(texts))])
    await index.write(tenant, Batch(written, values, title), metadata)
    return written


async def near(index: MilvusCollection, scope: Scope, limit: int = 50) -> set[str]:
    return {hit.place.document_id for hit in await index.nearest(vector(1), scope, limit)}


async def matched(index: MilvusCollection, query: str, scope: Scope, limit: int = 50) -> list[Place]:
    return [hit.place for hit in await index.matching(query, scope, limit)]


def everything(tenant: str) -> Scope:
    return Scope(tenant, NOWHERE)


async def test_the_nearest_come_first_with_their_cosine(index: MilvusCollection, tenant: str) -> None:
    vectors = [vector(1, 1), vector(0.2), vector(0, 5), vector(-3)]
    await write(index, tenant, "d", ["a", "b", "c", "d"], vectors)
    found = await index.nearest(vector(7), everything(tenant), 4)
    assert [hit.place.ordinal for hit in found] == [1, 0, 2, 3]
    assert [hit.score for hit in found] == pytest.approx([1, 0.5**0.5, 0, -1], abs=1e-5)
    assert [hit.place for hit in await index.nearest(vector(7), everything(tenant), 2)] == [
        Place("d", 1, 1),
        Place("d", 1, 0),
    ]


async def test_words_are_found_in_the_text_the_headings_and_the_title(index: MilvusCollection, tenant: str) -> None:
    await write(index, tenant, "d", ["the red fox", "a blue whale, a whale"], title="On zebras")
    await write(index, tenant, "e", ["nothing of the kind"])
    assert await matched(index, "whale", everything(tenant)) == [Place("d", 1, 1)]
    assert await matched(index, "WHALE FOX", everything(tenant), 1) == [Place("d", 1, 1)]
    assert set(await matched(index, "zebras", everything(tenant))) == {Place("d", 1, 0), Place("d", 1, 1)}
    assert await matched(index, "absent", everything(tenant)) == []
    assert await matched(index, "?!", everything(tenant)) == []
    assert all(hit.score > 0 for hit in await index.matching("whale fox", everything(tenant), 10))


async def test_a_passage_without_words_is_found_by_its_vector(index: MilvusCollection, tenant: str) -> None:
    lone = replace(passages("d", ["..."])[0], heading="")
    await index.write(tenant, Batch([lone], vector(1)[None]), {})
    assert await near(index, everything(tenant)) == {"d"}
    assert (await index.passages(tenant, "d", 1, 0, 10)) == [lone]


@pytest.mark.parametrize(
    ("test", "found"),
    [
        (Equals("en"), {"text"}),
        (Equals(1.0), {"one"}),
        (Equals(True), {"flag"}),
        (NotEquals("en"), {"other", "one", "two", "flag"}),
        (NotEquals(1.0), {"text", "other", "two", "flag"}),
        (AnyOf(("en", "de", "fr")), {"text", "other"}),
        (AnyOf((1.0, 2.5)), {"one", "two"}),
        (AnyOf((*map(str, range(99)), "de")), {"other"}),
        (Within(1.0, 2.0), {"one"}),
        (Within(None, 2.5), {"one", "two"}),
        (Within(1.5, None), {"two"}),
    ],
)
async def test_a_condition_holds_for_those_that_have_the_key(
    index: MilvusCollection, tenant: str, test: Equals | NotEquals | AnyOf | Within, found: set[str]
) -> None:
    values: dict[str, Scalar] = {"text": "en", "other": "de", "one": 1.0, "two": 2.5, "flag": True}
    for document_id, value in values.items():
        await write(index, tenant, document_id, ["water"], key=value)
    await write(index, tenant, "without", ["water"], elsewhere="en")
    scope = Scope(tenant, Filter((), (Condition("key", test),)))
    assert await near(index, scope) == found
    assert {place.document_id for place in await matched(index, "water", scope)} == found


async def test_conditions_and_documents_all_hold_at_once(index: MilvusCollection, tenant: str) -> None:
    for document_id, lang, year in [("a", "en", 2020.0), ("b", "en", 2021.0), ("c", "de", 2021.0)]:
        await write(index, tenant, document_id, ["water"], lang=lang, year=year)
    conditions = (Condition("lang", Equals("en")), Condition("year", Within(2021.0, None)))
    assert await near(index, Scope(tenant, Filter((), conditions))) == {"b"}
    assert await near(index, Scope(tenant, Filter(("a", "c"), ()))) == {"a", "c"}
    assert await near(index, Scope(tenant, Filter(("a", "c"), conditions))) == set()


@pytest.mark.parametrize(
    "value",
    [
        "'",
        '"',
        "\\",
        '\\"',
        "a\nb",
        "\r\t\0",
        '" or tenant != "',
        "%",
        "_",
        "{x}",
        "ü",
        "漢字",
        "🦊",
        "a" * 1000,
        "]",
        "",
    ],
)
async def test_a_value_of_any_characters_is_compared_as_it_stands(
    index: MilvusCollection, tenant: str, value: str
) -> None:
    await write(index, tenant, "it", ["water"], key=value)
    await write(index, tenant, "other", ["water"], key=value + "x")
    assert await near(index, Scope(tenant, Filter((), (Condition("key", Equals(value)),)))) == {"it"}
    assert await near(index, Scope(tenant, Filter((), (Condition("key", NotEquals(value)),)))) == {"other"}


async def test_tenants_with_equal_ids_do_not_meet(index: MilvusCollection, tenant: str) -> None:
    tenants = [tenant, f"{tenant}-", f"{tenant}-b", f"{tenant}_b"]
    for number, name in enumerate(tenants):
        await write(index, name, "same", [f"water {number}"])
    for number, name in enumerate(tenants):
        assert len(await index.nearest(vector(1), everything(name), 50)) == 1
        [place] = await matched(index, "water", everything(name))
        assert (await index.fetch(name, [place]))[place].passage.text == f"water {number}"
    assert await index.erase(tenant, "same", 1, 1) == 0
    assert [await index.count(name, "same", 1) for name in tenants] == [0, 1, 1, 1]


@pytest.mark.parametrize("malformed", ["", '"', 'a" or id != "', "a/b", "a b", "ü", "a\n", "x" * 65])
async def test_a_malformed_tenant_is_refused_and_never_all(index: MilvusCollection, malformed: str) -> None:
    calls = (
        index.nearest(vector(1), everything(malformed), 10),
        index.matching("water", everything(malformed), 10),
        index.fetch(malformed, [Place("d", 1, 0)]),
        index.passages(malformed, "d", 1, 0, 10),
        index.erase(malformed, "d", 0, 10),
        write(index, malformed, "d", ["water"]),
    )
    for call in calls:
        with pytest.raises(RagError) as caught:
            await call
        assert caught.value.reason == "NO_TENANT"


async def test_stale_versions_are_left_out(index: MilvusCollection, tenant: str) -> None:
    for version in (1, 2, 3):
        await write(index, tenant, "d", ["water"], version=version)
    await write(index, tenant, "e", ["water"], version=2)
    scope = Scope(tenant, NOWHERE, frozenset({("d", 1), ("d", 2)}))
    expected = {Place("d", 3, 0), Place("e", 2, 0)}
    assert {hit.place for hit in await index.nearest(vector(1), scope, 10)} == expected
    assert set(await matched(index, "water", scope)) == expected


async def test_rows_are_read_back_as_they_were_written(index: MilvusCollection, tenant: str) -> None:
    texts = [
        "plain",
        "quotes ' \" \\ \n\r\t",
        "漢字かな交じり文",
        "مرحبا",
        "🦊👩‍👩‍👧",
        "a\0b",
        "1 2 3\n4",
        "x" * 16_000,
    ]
    written = await write(index, tenant, "d", texts, title="Títle\n\0 1 2")
    places = [Place("d", 1, number) for number in range(len(texts))]
    rows = await index.fetch(tenant, [*places, Place("d", 1, 99), Place("d", 2, 0), Place("absent", 1, 0)])
    assert [rows[place].passage for place in places] == written
    assert len(rows) == len(places)
    assert {row.title for row in rows.values()} == {"Títle\n\0 1 2"}
    assert all(row.vector is None for row in rows.values())
    assert await index.fetch(tenant, []) == {}
    assert await index.fetch("other", places) == {}


async def test_vectors_come_back_with_length_one(index: MilvusCollection, tenant: str) -> None:
    await write(index, tenant, "d", ["a", "b"], [vector(3, 4), vector(0, 0, 1)])
    [first, second] = await index.pages(tenant, "d", 1, 0, 10, with_vectors=True)
    np.testing.assert_allclose(first.vector, vector(0.6, 0.8), atol=1e-6)
    np.testing.assert_array_equal(second.vector, vector(0, 0, 1))


async def test_a_version_is_read_in_its_order_page_by_page(index: MilvusCollection, tenant: str) -> None:
    texts = [f"text {number}" for number in range(25)]
    for first in (20, 0, 10):
        await write(index, tenant, "d", texts[first : first + 10], first=first)
    pages = [await index.pages(tenant, "d", 1, first, 10, with_vectors=False) for first in (0, 10, 20, 30)]
    assert [[row.passage.text for row in page] for page in pages] == [texts[:10], texts[10:20], texts[20:], []]
    assert [passage.ordinal for passage in await index.passages(tenant, "d", 1, 3, 4)] == [3, 4, 5, 6]


async def test_writing_twice_has_the_effect_of_once(index: MilvusCollection, tenant: str) -> None:
    for _ in range(2):
        await write(index, tenant, "d", ["water", "fire"])
    assert await index.count(tenant, "d", 1) == 2
    assert len(await index.nearest(vector(1), everything(tenant), 10)) == 2
    assert await matched(index, "water", everything(tenant)) == [Place("d", 1, 0)]


async def test_erasing_leaves_the_other_versions_and_documents(index: MilvusCollection, tenant: str) -> None:
    for version in (1, 2, 3):
        await write(index, tenant, "d", ["water", "fire"], version=version)
    await write(index, tenant, "d2", ["water"])
    assert await index.erase(tenant, "d", 1, 2) == 0
    assert [await index.count(tenant, "d", version) for version in (1, 2, 3)] == [0, 0, 2]
    assert set(await matched(index, "water", everything(tenant))) == {Place("d", 3, 0), Place("d2", 1, 0)}
    assert await index.erase(tenant, "d", 0, 2**63) == 0
    assert await index.erase(tenant, "d", 0, 2**63) == 0
    assert await near(index, everything(tenant)) == {"d2"}


async def test_what_was_written_is_found_at_once(index: MilvusCollection, tenant: str) -> None:
    for number in range(10):
        await write(index, tenant, f"d{number}", [f"word{number}"])
        assert await matched(index, f"word{number}", everything(tenant)) == [Place(f"d{number}", 1, 0)]
        assert len(await index.nearest(vector(1), everything(tenant), 50)) == number + 1


async def test_row_ids_come_in_turn_and_each_once(engine: Engine) -> None:
    index = await engine.store.open(named("passages_turns"))
    for document_id in ("b", "a", "c"):
        await write(index, "t", document_id, [f"text {number}" for number in range(12)])
    seen: list[str] = []
    while page := await index.row_ids(seen[-1] if seen else "", 5):
        assert len(page) <= 5
        seen += page
    assert seen == sorted(f"t/{name}/1/{number}" for name in "abc" for number in range(12))
    assert await index.count() == 36


async def test_an_empty_collection_finds_nothing(engine: Engine) -> None:
    index = await engine.store.open(named("passages_empty"))
    assert await index.nearest(vector(1), everything("t"), 10) == []
    assert await index.matching("water", everything("t"), 10) == []
    assert await index.count() == 0
    assert await index.row_ids("", 10) == []
    assert await index.erase("t", "d", 0, 5) == 0
    await write(index, "t", "d", ["water"])
    await index.erase("t", "d", 0, 5)
    assert await index.matching("water", everything("t"), 10) == []
    assert await index.nearest(vector(1), everything("t"), 10) == []


async def test_two_collections_do_not_meet(engine: Engine) -> None:
    blue = await engine.store.open(named("passages_blue"))
    green = await engine.store.open(named("passages_green", "multilingual"))
    await write(blue, "t", "d", ["blue boats"])
    await write(green, "t", "d", ["green boats"])
    assert await matched(blue, "green", everything("t")) == []
    assert await matched(green, "boat", everything("t")) == [Place("d", 1, 0)]
    assert {"passages_blue", "passages_green"} <= set(await engine.store.names())
    assert await engine.store.erase("t", "d", 0, 9) == 0
    assert [await blue.count(), await green.count()] == [0, 0]


async def test_a_dropped_collection_is_gone_and_says_so(engine: Engine) -> None:
    index = await engine.store.open(named("passages_doomed"))
    await write(index, "t", "d", ["water"])
    for _ in range(2):
        await engine.store.drop("passages_doomed")
    assert "passages_doomed" not in await engine.store.names()
    assert await index.erase("t", "d", 0, 9) == 0
    for call in (write(index, "t", "d", ["water"]), index.matching("water", everything("t"), 5), index.count()):
        with pytest.raises(Unavailable) as caught:
            await call
        assert caught.value.reason == "INDEX_DROPPED"
    again = await engine.store.open(named("passages_doomed"))
    assert await again.count() == 0


async def test_the_server_has_a_partition_key_and_the_alias_follows_the_live_one(engine: Engine) -> None:
    one, two = named("passages_one"), named("passages_two")
    for index in (one, two):
        await engine.store.open(index)
        await engine.store.point_alias(index)
    if engine.server is None:
        return
    client = AsyncMilvusClient(engine.server.uri, dedicated=True, timeout=5)
    try:
        described = await client.describe_collection(ALIAS, timeout=5)
        assert described["collection_name"] == "passages_two"
        assert [field["name"] for field in described["fields"] if field.get("is_partition_key")] == ["tenant"]
    finally:
        await client.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_it_comes_back_with_all_it_acknowledged(alone: Engine, number: signal.Signals) -> None:
    index = await alone.store.open(named("passages_a"))
    other = await alone.store.open(named("passages_b"))
    for turn in range(2):
        await write(index, "t", f"d{turn}", ["water", "fire"])
        await write(other, "t", f"d{turn}", ["water"])
        await alone.die(number)
        await alone.come_back()
        await until(alone.store.ping)
        assert {place.document_id for place in await matched(index, "water", everything("t"))} == {
            f"d{n}" for n in range(turn + 1)
        }
        assert await near(other, everything("t")) == {f"d{n}" for n in range(turn + 1)}
        assert await index.count() == 2 * (turn + 1)


async def test_a_server_that_is_away_is_unavailable_in_time(tmp_path: Path) -> None:
    async with running("server", tmp_path) as engine:
        index = await engine.store.open(named("passages_a"))
        await engine.die(signal.SIGKILL)
        await unavailable_in_time(index)
        await engine.come_back()
        assert await index.count() == 0


async def test_an_engine_that_hangs_is_unavailable_in_time(alone: Engine) -> None:
    index = await alone.store.open(named("passages_a"))
    await write(index, "t", "d", ["water"])
    stop(alone.pid)
    try:
        await unavailable_in_time(index)
    finally:
        os.kill(alone.pid, signal.SIGCONT)
    assert await near(index, everything("t")) == {"d"}


REFUSE = """
CREATE TRIGGER refuse BEFORE INSERT ON collection_meta WHEN NEW.meta_type = 'index' AND EXISTS
  (SELECT 1 FROM collection_meta WHERE collection_name = NEW.collection_name AND meta_type = 'index')
BEGIN SELECT RAISE(ABORT, 'not now'); END
"""
"""The engine's file then takes the first index of a collection and not the second."""


async def test_a_collection_that_could_not_be_finished_is_made_anew(tmp_path: Path) -> None:
    async with running("embedded", tmp_path / "milvus") as engine:
        await engine.store.open(named("passages_a"))
        with closing(sqlite3.connect(database_of(engine), isolation_level=None)) as file:
            file.execute(REFUSE)
            for _ in range(2):
                with pytest.raises(Internal):
                    await engine.store.open(named("passages_b"))
            file.execute("DROP TRIGGER refuse")
        index = await engine.store.open(named("passages_b"))
        await write(index, "t", "d", ["water"])
        assert await near(index, everything("t")) == {"d"}
        assert [place.document_id for place in await matched(index, "water", everything("t"))] == ["d"]


async def test_a_collection_is_made_after_the_write_that_is_under_way(tmp_path: Path) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def write_for_long(database: Path) -> None:
        with closing(sqlite3.connect(database, isolation_level=None)) as file:
            file.execute("BEGIN IMMEDIATE")
            begun.set()
            await may_end.wait()

    async with running("embedded", tmp_path / "milvus") as engine:
        await engine.store.open(named("passages_a"))
        writing = asyncio.create_task(engine.store.finish(write_for_long(database_of(engine))))
        await begun.wait()
        opening = asyncio.create_task(engine.store.open(named("passages_b")))
        done, _ = await asyncio.wait({opening}, timeout=0.5)
        assert not done
        may_end.set()
        await writing
        await write(await opening, "t", "d", ["water"])


def database_of(engine: Engine) -> Path:
    assert engine.child is not None
    return engine.child.database


async def test_a_port_that_says_nothing_is_unavailable_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        store = MilvusStore(at(f"http://127.0.0.1:{mute.getsockname()[1]}"), analyzer)
        with bound(CallContext("r", "t", time.monotonic() + 1)):
            with pytest.raises(Unavailable) as caught:
                await asyncio.wait_for(store.open(named("passages_a")), 10)
        assert caught.value.reason == "INDEX_UNAVAILABLE"
        await store.close()


async def unavailable_in_time(index: MilvusCollection) -> None:
    """A call with a second left ends as Unavailable, long before the engine's own limit."""
    for call in (
        lambda: index.nearest(vector(1), everything("t"), 5),
        lambda: index.matching("water", everything("t"), 5),
        lambda: index.fetch("t", [Place("d", 1, 0)]),
        index.count,
    ):
        with bound(CallContext("r", "t", time.monotonic() + 1)):
            with pytest.raises(Unavailable) as caught:
                await asyncio.wait_for(call(), 10)
        assert caught.value.reason == "INDEX_UNAVAILABLE"


async def test_the_token_goes_along_with_every_call() -> None:
    seen: list[tuple[str, str]] = []

    class Recorder(grpc.aio.ServerInterceptor):
        async def intercept_service(self, continuation, details):
            fields = dict(details.invocation_metadata)
            seen.append((details.method.rpartition("/")[2], fields.get("authorization", "")))
            return await continuation(details)

    class Welcoming(milvus_pb2_grpc.MilvusServiceServicer):
        async def Connect(self, request, context):
            return milvus_pb2.ConnectResponse()

    server = grpc.aio.server(interceptors=[Recorder()])
    milvus_pb2_grpc.add_MilvusServiceServicer_to_server(Welcoming(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    store = MilvusStore(at(f"http://127.0.0.1:{port}"), analyzer, token="user:secret")
    try:
        with pytest.raises(Unavailable):
            await store.open(named("passages_a"))
    finally:
        await store.close()
        await server.stop(None)
    assert {method for method, _ in seen} > {"Connect"}
    assert {base64.b64decode(token) for _, token in seen} == {b"user:secret"}
