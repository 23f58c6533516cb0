"""An export holds whole documents only, and an import makes the same documents of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
import pytest_asyncio

from rag.cli.operating import OwnRetriever
from rag.passage import Passage
from rag.runtime.errors import Conflict, FailedPrecondition, RagError, Unavailable
from rag.runtime.peers import open_peer
from rag.transfer.exporting import export_tenant
from rag.transfer.framing import frame, places
from rag.transfer.importing import check_target, exports_in, import_tenant
from rag.transfer.shards import Source, read_manifest
from rag.v1 import retriever_pb2 as pb
from rag.vectors import unpack
from services.retriever.catalogue import Document
from services.retriever.exporting import ExportedDocument, ExportedIndex, ExportedRows, Exporting
from services.retriever.opening import Index
from services.retriever.passages import Model, Row
from tests.retriever.room import (
    DIMENSION,
    LetterEmbedder,
    Retriever,
    embedder,
    fresh_database,
    of,
    reason,
    value,
    vector,
)
from tests.retriever.room import retriever as running
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


def silent(_tenant: str, _done: int, _total: int, _passages: int) -> None:
    return


async def exported(room: Retriever, tenant: str, after: str = "") -> list[pb.ExportIndexResponse]:
    call = room.stub.ExportIndex(pb.ExportIndexRequest(after_document_id=after), metadata=of(tenant), timeout=60)
    return [part async for part in call]


async def test_documents_come_in_the_order_of_their_ids_with_all_their_passages(room: Retriever, tenant: str) -> None:
    texts = [f"passage {n} of the lighthouse" for n in range(230)]
    await room.index(tenant, "b", ["only one"], title="Bee", metadata={"team": value("ops")}, fingerprint="f1")
    await room.index(tenant, "c", texts, accepted_us=1_700_000_000_000_000)
    await room.index(tenant, "a", ["first", "second"])
    parts = await exported(room, tenant)
    assert parts[0].index.documents == 3
    assert (parts[0].index.index.model, parts[0].index.index.dimension) == ("words", DIMENSION)
    documents = [part.document for part in parts if part.HasField("document")]
    assert [each.document.id for each in documents] == ["a", "b", "c"]
    assert documents[1].document.fingerprint == "f1"
    assert documents[1].document.metadata["team"].text == "ops"
    assert documents[2].accepted_us == 1_700_000_000_000_000
    last = parts[parts.index(next(part for part in parts if part.document.document.id == "c")) + 1 :]
    found = [passage.text for part in last for passage in part.passages.passages]
    assert found == texts
    vectors = np.concatenate([unpack(part.passages.vectors, DIMENSION) for part in last])
    assert np.allclose(vectors, np.stack([vector(text) for text in texts]), atol=1e-6)


async def test_an_export_goes_on_behind_a_document(room: Retriever, tenant: str) -> None:
    for name in ("a", "b", "c"):
        await room.index(tenant, name, ["text"])
    for after, wanted in (("a", ["b", "c"]), ("bb", ["c"]), ("c", [])):
        parts = await exported(room, tenant, after)
        assert [part.document.document.id for part in parts if part.HasField("document")] == wanted


async def test_an_export_shows_no_other_tenant(room: Retriever, tenant: str) -> None:
    await room.index(tenant, "mine", ["text"])
    assert len(await exported(room, f"{tenant}x")) == 1
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await exported(room, tenant, "../x")
    assert reason(refused.value) == "BAD_ID"


class Changing:
    """A catalogue and an index in which a document changes while it is read. `steps` run before each page is read."""

    index = Index("collection", Model("words", "r1", 2), "plain")

    def __init__(self, versions: dict[str, int], passages: int) -> None:
        self.versions = versions
        self.passages = passages
        self.steps: list = []
        self.forgotten: set[int] = set()

    async def ids(self, tenant: str) -> list[str]:
        return ["a", "b"]

    async def accepted(self, tenant: str, document_id: str) -> tuple[Document, int] | None:
        version = self.versions.get(document_id)
        if version is None:
            return None
        return Document(document_id, version, "n", "t", "text/plain", "0" * 64, 1, 0, self.passages, {}, 1, 1), 7

    async def pages(self, tenant, document_id, version, first, limit, *, with_vectors) -> list[Row]:
        if self.steps:
            self.steps.pop(0)()
        if self.versions.get(document_id) != version or version in self.forgotten:
            return []
        return [
            Row(passage(document_id, version, n), "t", np.ones(2, np.float32))
            for n in range(first, min(first + limit, self.passages))
        ]


def passage(document_id: str, version: int, ordinal: int) -> Passage:
    return Passage(
        id=f"p{ordinal}", document_id=document_id, version=version, ordinal=ordinal, text="x", heading="", page=0,
        char_start=0, char_end=1, token_count=1,
    )  # fmt: skip


async def whole(source: Changing, live=None) -> list[tuple[str, int]]:
    """What a reader of the export makes of it: the documents whose passages all came."""
    found, left = [], 0
    async with aclosing(Exporting(source, live or (lambda: source)).export("t", "")) as parts:
        async for part in parts:
            match part:
                case ExportedIndex():
                    pass
                case ExportedDocument(document, _):
                    name, left = (document.id, document.version), document.passage_count
                case ExportedRows(rows):
                    assert {row.passage.version for row in rows} == {name[1]}
                    left -= len(rows)
                    if not left:
                        found.append(name)
    return found


def nothing() -> None:
    return


async def test_a_document_that_changes_while_it_is_read_is_read_again() -> None:
    source = Changing({"a": 1, "b": 1}, 150)
    source.steps = [nothing, lambda: source.versions.update(a=2)]
    assert await whole(source) == [("a", 2), ("b", 1)]


async def test_a_document_that_is_deleted_while_it_is_read_is_left_out() -> None:
    source = Changing({"a": 1, "b": 1}, 150)
    source.steps = [nothing, lambda: source.versions.pop("a")]
    assert await whole(source) == [("b", 1)]


async def test_missing_rows_of_a_live_version_are_told() -> None:
    source = Changing({"a": 1, "b": 1}, 150)
    source.forgotten = {1}
    with pytest.raises(Unavailable) as refused:
        await whole(source)
    assert refused.value.reason == "DOCUMENT_DAMAGED"


async def test_a_switch_of_the_index_ends_the_export() -> None:
    source, other = Changing({"a": 1}, 5), Changing({"a": 1}, 5)
    source.forgotten = {1}
    turns = iter([source, other])
    with pytest.raises(Conflict) as refused:
        await whole(source, lambda: next(turns))
    assert refused.value.reason == "INDEX_SWITCHED"


class Replayed:
    """A retriever that streams given parts, and breaks off after some of them, once for each entry of `breaks`."""

    def __init__(self, parts: list[pb.ExportIndexResponse], breaks: list[int]) -> None:
        self.parts = parts
        self.breaks = breaks
        self.asked: list[str] = []

    async def export(self, tenant: str, after: str, timeout_s: float) -> AsyncGenerator[pb.ExportIndexResponse, None]:
        self.asked.append(after)
        end = self.breaks.pop(0) if self.breaks else None
        sent, behind = 0, not after
        for number, part in enumerate(self.parts):
            if part.HasField("document"):
                behind = part.document.document.id > after
            if not (behind or number == 0):
                continue
            if end is not None and sent == end:
                raise Unavailable("The retriever cannot be reached.", "RETRIEVER_UNAVAILABLE")
            sent += 1
            yield part


async def no_pause(_seconds: float) -> None:
    return


@pytest.mark.parametrize("breaks", [[1], [2], [3], [4, 2], [3, 1, 1]])
async def test_a_broken_export_goes_on_behind_the_last_whole_document(
    room: Retriever, tenant: str, tmp_path: Path, breaks: list[int]
) -> None:
    for name in ("a", "b", "c"):
        await room.index(tenant, name, [f"{name} {n}" for n in range(150)])
    parts = await exported(room, tenant)
    source = Replayed(parts, list(breaks))
    manifest = await export_tenant(source, tenant, tmp_path, silent, shard_bytes=30_000, pause=no_pause)
    assert manifest.complete
    assert (manifest.documents, manifest.passages) == (3, 450)
    stored = [
        frame_of(tmp_path / shard.name, place) for shard in manifest.shards for place in places(tmp_path / shard.name)
    ]
    assert b"".join(stored) == b"".join(frame(part) for part in parts[1:])
    assert not list(tmp_path.glob("*.part"))
    assert (await export_tenant(source, tenant, tmp_path, silent)) == manifest  # it is complete: nobody is asked


def frame_of(path: Path, place) -> bytes:
    return path.read_bytes()[place.start : place.end]


@asynccontextmanager
async def called(room: Retriever) -> AsyncIterator[OwnRetriever]:
    """The retriever as the command calls it."""
    async with open_peer(room.address, "rag.v1.RetrieverService") as peer:
        yield OwnRetriever(peer)


@pytest_asyncio.fixture(loop_scope="module")
async def other(redis_url: str, tmp_path: Path) -> AsyncIterator[Retriever]:
    """Another, empty retriever of the same model."""
    async with embedder() as port, running(tmp_path / "other", await fresh_database(redis_url), port) as target:
        await until(target.room.is_ready)
        yield target


async def moved(room: Retriever, target: Retriever, tenant: str, folder: Path):
    async with called(room) as source:
        await export_tenant(source, tenant, folder / tenant, silent)
    async with called(target) as into:
        [manifest] = exports_in(folder, [tenant]).values()
        await check_target(into, tenant, manifest.source)
        return await import_tenant(into, folder / tenant, manifest, silent, parallel=3)


async def scores(room: Retriever, tenant: str, query: str) -> list[float]:
    hits = await room.hits(tenant, query, top_k=20, mode=pb.RETRIEVAL_MODE_DENSE)
    return [hit.dense_score for hit in hits]


async def texts_of(room: Retriever, tenant: str, document_id: str) -> list[tuple[str, str]]:
    request = pb.ListPassagesRequest(document_id=document_id, page_size=500)
    page = await room.stub.ListPassages(request, metadata=of(tenant))
    return [(passage.id, passage.text) for passage in page.passages]


async def test_what_is_moved_is_the_same(room: Retriever, other: Retriever, tenant: str, tmp_path: Path) -> None:
    for n in range(12):
        texts = [f"lighthouse {n} part {part} word{n * part}" for part in range(1 + 20 * (n % 3))]
        await room.index(
            tenant, f"doc_{n}", texts, title=f"Title {n}", metadata={"n": value(float(n))}, fingerprint=f"f{n}"
        )
    counts = await moved(room, other, tenant, tmp_path)
    assert (counts.imported, counts.there_already) == (12, 0)
    for query in ("lighthouse part", "word6", "lighthouse 3"):
        before, after = await scores(room, tenant, query), await scores(other, tenant, query)
        assert after == pytest.approx(before, abs=1e-5)
    for n in range(12):
        here, there = await room.get(tenant, f"doc_{n}"), await other.get(tenant, f"doc_{n}")
        for document in (here, there):
            for name in ("version", "created_at", "updated_at"):
                document.ClearField(name)
        assert here == there
        assert await texts_of(room, tenant, f"doc_{n}") == await texts_of(other, tenant, f"doc_{n}")
    again = await moved(room, other, tenant, tmp_path)
    assert (again.imported, again.there_already) == (0, 12)


async def test_what_is_newer_in_the_index_stays(room: Retriever, other: Retriever, tenant: str, tmp_path: Path) -> None:
    await room.index(tenant, "doc", ["old"], accepted_us=1_000)
    await room.index(tenant, "deleted", ["old"], accepted_us=1_000)
    await other.index(tenant, "doc", ["new"], accepted_us=2_000, content_hash="1" * 64)
    await other.index(tenant, "deleted", ["new"], accepted_us=2_000, content_hash="1" * 64)
    await other.delete(tenant, "deleted")
    counts = await moved(room, other, tenant, tmp_path)
    assert (counts.imported, counts.newer_there) == (0, 2)
    assert await other.found(tenant, "new old") == ["new"]


async def test_vectors_of_another_model_are_refused_before_anything_is_sent(
    room: Retriever, tenant: str, tmp_path: Path, redis_url: str
) -> None:
    await room.index(tenant, "doc", ["text"])
    async with (
        embedder(LetterEmbedder(revision="r2")) as port,
        running(tmp_path / "other", await fresh_database(redis_url), port) as target,
    ):
        await until(target.room.is_ready)
        with pytest.raises(FailedPrecondition) as refused:
            await moved(room, target, tenant, tmp_path)
        assert refused.value.reason == "MODEL_MISMATCH"
        assert len(await exported(target, tenant)) == 1


@pytest.mark.parametrize("damage", ["flip", "cut", "missing", "open", "path", "tenant"])
async def test_a_damaged_export_is_refused(room: Retriever, tenant: str, tmp_path: Path, damage: str) -> None:
    await room.index(tenant, "doc", ["text"])
    async with called(room) as source:
        manifest = await export_tenant(source, tenant, tmp_path / tenant, silent)
    path, named = tmp_path / tenant / manifest.shards[0].name, tmp_path / tenant / "manifest.json"
    match damage:
        case "flip":
            path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
        case "cut":
            path.write_bytes(path.read_bytes()[:-1])
        case "missing":
            path.unlink()
        case "open":
            named.write_text(named.read_text().replace('"complete": true', '"complete": false'))
        case "path":
            named.write_text(named.read_text().replace(path.name, "../other"))
        case "tenant":
            named.write_text(named.read_text().replace(tenant, "somebody"))
    with pytest.raises(RagError) as refused:
        exports_in(tmp_path, [tenant])
    assert refused.value.reason == ("EXPORT_INCOMPLETE" if damage == "open" else "EXPORT_DAMAGED")


async def test_an_export_of_another_index_is_not_continued(room: Retriever, tenant: str, tmp_path: Path) -> None:
    await room.index(tenant, "doc", ["text"])
    parts = await exported(room, tenant)
    with pytest.raises(asyncio.CancelledError):
        await export_tenant(Cancelled(parts), tenant, tmp_path, silent, shard_bytes=1)
    before = read_manifest(tmp_path)
    assert before is not None
    assert not before.complete
    parts[0].index.index.model = "another"
    with pytest.raises(FailedPrecondition) as refused:
        await export_tenant(Replayed(parts, []), tenant, tmp_path, silent)
    assert refused.value.reason == "EXPORT_OTHER_INDEX"
    assert Source("words", "r1", DIMENSION, before.source.analyzer) == before.source


class Cancelled(Replayed):
    """Its user presses Ctrl-C at the end."""

    def __init__(self, parts: list[pb.ExportIndexResponse]) -> None:
        super().__init__(parts, [])

    async def export(self, tenant: str, after: str, timeout_s: float) -> AsyncGenerator[pb.ExportIndexResponse, None]:
        async for part in super().export(tenant, after, timeout_s):
            yield part
        raise asyncio.CancelledError
