from __future__ import annotations

import asyncio

import grpc
import numpy as np
import pytest

from rag.v1 import passage_pb2
from rag.v1 import retriever_pb2 as pb
from rag.vectors import pack
from tests.retriever.room import (
    DIMENSION,
    Retriever,
    batch,
    commit,
    document,
    header,
    of,
    passage,
    reason,
    value,
    vector,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


def passages(*items: passage_pb2.Passage, vectors: bytes | None = None) -> pb.IndexRequest:
    packed = pack(np.stack([vector(item.text) for item in items])) if vectors is None and items else vectors or b""
    return pb.IndexRequest(passages=pb.IndexPassages(passages=items, vectors=packed))


async def test_the_stream_answers_progress_and_then_the_document(room: Retriever, tenant: str) -> None:
    metadata = {"lang": value("en"), "year": value(2024.0), "draft": value(False)}
    parts = [
        header("d1", name="n.pdf", media_type="application/pdf", size_bytes=2**40, metadata=metadata),
        batch(["one", "two"]),
        batch(["three"], first=2),
        commit(3, title="Title", page_count=7),
    ]
    events = await room.send(tenant, parts)
    assert [event.progress.passages_written for event in events[:-1]] == [2, 3]
    made = events[-1].document
    assert (made.id, made.name, made.title, made.media_type) == ("d1", "n.pdf", "Title", "application/pdf")
    assert (made.size_bytes, made.page_count, made.passage_count) == (2**40, 7, 3)
    assert dict(made.metadata) == metadata
    assert made.version > 0
    assert made.created_at == made.updated_at
    assert await room.get(tenant, "d1") == made


async def test_nothing_is_visible_before_the_commit(room: Retriever, tenant: str) -> None:
    call = room.stub.Index(metadata=of(tenant), timeout=30)
    await call.write(header("d1"))
    await call.write(batch(["early water"]))
    assert (await call.read()).progress.passages_written == 1
    assert await room.hits(tenant, "water") == []
    await call.write(commit(1))
    assert (await call.read()).document.id == "d1"
    assert await room.found(tenant, "water") == ["early water"]


async def test_a_new_version_replaces_the_old_one_in_one_step(room: Retriever, tenant: str) -> None:
    first = await room.index(tenant, "d1", [f"old water {n}" for n in range(20)])
    stop = asyncio.Event()
    seen: set[tuple[str, ...]] = set()

    async def look() -> None:
        while not stop.is_set():
            seen.add(tuple(sorted(await room.found(tenant, "water", top_k=100))))

    looking = [asyncio.create_task(look()) for _ in range(3)]
    for name in ("middle", "new"):
        last = await room.index(tenant, "d1", [f"{name} water {n}" for n in range(30)])
    stop.set()
    await asyncio.gather(*looking)
    whole = {("old", 20), ("middle", 30), ("new", 30)}
    assert seen <= {tuple(sorted(f"{name} water {n}" for n in range(count))) for name, count in whole}
    assert last.version > first.version
    assert last.created_at == first.created_at
    assert set(await room.found(tenant, "water", top_k=100)) == {f"new water {n}" for n in range(30)}
    await room.erased()
    assert await room.row_count(tenant) == 30


async def test_an_abandoned_stream_leaves_nothing(room: Retriever, tenant: str) -> None:
    await room.index(tenant, "d1", ["live water"])
    call = room.stub.Index(metadata=of(tenant), timeout=30)
    await call.write(header("d1"))
    await call.write(batch(["lost water", "more"]))
    await call.read()
    call.cancel()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await room.send(tenant, [header("d2"), batch(["lost water"])])
    assert reason(caught.value) == "NO_COMMIT"
    await room.erased()
    assert await room.row_count(tenant) == 1
    assert await room.found(tenant, "water") == ["live water"]


async def test_the_later_version_wins_when_two_are_written_at_once(room: Retriever, tenant: str) -> None:
    early = room.stub.Index(metadata=of(tenant), timeout=30)
    await early.write(header("d1"))
    await early.write(batch(["early water"]))
    await early.read()
    await room.index(tenant, "d1", ["late water"])
    await early.write(commit(1))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await early.read()
    assert caught.value.code() is grpc.StatusCode.ABORTED
    assert reason(caught.value) == "VERSION_SUPERSEDED"
    assert await room.found(tenant, "water") == ["late water"]
    await room.erased()
    assert await room.row_count(tenant) == 1


async def test_the_same_work_done_twice_has_one_effect(room: Retriever, tenant: str) -> None:
    for _ in range(2):
        await room.index(tenant, "d1", ["one water", "two water"])
    assert sorted(await room.found(tenant, "water")) == ["one water", "two water"]
    await room.erased()
    assert await room.row_count(tenant) == 2


async def test_many_passages_are_read_back_character_for_character(room: Retriever, tenant: str) -> None:
    texts = [f"{number} é漢😀\t\n'\"\\ \x01 {'x' * (number % 50)} " for number in range(1200)]
    parts = [header("d1"), *(batch(texts[at : at + 500], at) for at in (0, 500, 1000)), commit(1200)]
    await room.send(tenant, parts)
    read: list[str] = []
    token = ""
    while True:
        request = pb.ListPassagesRequest(document_id="d1", page_size=499, page_token=token)
        page = await room.stub.ListPassages(request, metadata=of(tenant))
        read += [item.text for item in page.passages]
        token = page.next_page_token
        if not token:
            break
    assert read == texts


BAD = {
    "no header": ([batch(["x"])], "NO_HEADER"),
    "nothing at all": ([], "NO_HEADER"),
    "commit first": ([commit(0)], "NO_HEADER"),
    "second header": ([header("d"), header("d")], "SECOND_HEADER"),
    "no commit": ([header("d"), batch(["x"])], "NO_COMMIT"),
    "empty part": ([header("d"), pb.IndexRequest()], "EMPTY_PART"),
    "bad id": ([header('d" or "')], "BAD_ID"),
    "no id": ([header("")], "BAD_ID"),
    "bad hash": ([header("d", content_hash="xyz")], "BAD_CONTENT_HASH"),
    "long name": ([header("d", name="n" * 5000)], "BAD_NAME"),
    "long media type": ([header("d", media_type="m" * 300)], "BAD_MEDIA_TYPE"),
    "huge size": ([header("d", size_bytes=2**63)], "BAD_SIZE"),
    "bad metadata key": ([header("d", metadata={"a b": value("x")})], "BAD_METADATA"),
    "NaN metadata": ([header("d", metadata={"a": value(float("nan"))})], "BAD_METADATA"),
    "65 keys": ([header("d", metadata={f"k{n}": value("x") for n in range(65)})], "BAD_METADATA"),
    "wrong count": ([header("d"), batch(["x"]), commit(2)], "PASSAGE_COUNT"),
    "no passages": ([header("d"), commit(0)], "NO_PASSAGES"),
    "long title": ([header("d"), batch(["x"]), commit(1, title="t" * 5000)], "BAD_TITLE"),
    "empty batch": ([header("d"), passages()], "BAD_BATCH_SIZE"),
    "501 passages": ([header("d"), batch(["x"] * 501)], "BAD_BATCH_SIZE"),
    "gap in ordinals": ([header("d"), batch(["x"], first=1)], "BAD_ORDINAL"),
    "ordinal again": ([header("d"), batch(["x"]), batch(["y"])], "BAD_ORDINAL"),
    "empty text": ([header("d"), passages(passage(0, " "))], "EMPTY_PASSAGE"),
    "long text": ([header("d"), passages(passage(0, "é" * 8193))], "PASSAGE_TOO_LONG"),
    "long heading": ([header("d"), passages(passage(0, "x", heading="h" * 5000))], "HEADING_TOO_LONG"),
    "bad passage id": ([header("d"), passages(passage(0, "x", id="a b"))], "BAD_ID"),
    "span backwards": ([header("d"), passages(passage(0, "x", char_start=9, char_end=8))], "BAD_SPAN"),
    "span out of range": ([header("d"), passages(passage(0, "x", char_end=2**63))], "BAD_SPAN"),
    "NaN vector": (
        [header("d"), passages(passage(0, "x"), vectors=pack(np.full(DIMENSION, np.nan)))],
        "VECTOR_NOT_FINITE",
    ),
    "zero vector": ([header("d"), passages(passage(0, "x"), vectors=pack(np.zeros(DIMENSION)))], "VECTOR_ZERO"),
    "half a vector": ([header("d"), passages(passage(0, "x"), vectors=b"\x00" * 7)], "BAD_VECTORS"),
    "no vector": ([header("d"), passages(passage(0, "x"), vectors=b"")], "VECTOR_COUNT"),
    "two vectors": ([header("d"), passages(passage(0, "x"), vectors=pack(np.ones(2 * DIMENSION)))], "VECTOR_COUNT"),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_stream_is_refused_and_leaves_nothing(room: Retriever, tenant: str, case: str) -> None:
    parts, expected = BAD[case]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await room.send(tenant, parts)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason(caught.value) == expected
    await room.erased()
    assert await room.row_count(tenant) == 0


@pytest.mark.parametrize("other", [{"model": "other"}, {"revision": "r2"}, {"dimension": 16}, {"dimension": 0}])
async def test_vectors_of_another_model_are_refused(room: Retriever, tenant: str, other: dict[str, object]) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await room.send(tenant, [header("d1", **other)])
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert reason(caught.value) == "MODEL_MISMATCH"


async def test_writers_and_readers_side_by_side_fail_in_nothing(room: Retriever, tenant: str) -> None:
    stop = asyncio.Event()

    async def write(name: str) -> None:
        for turn in range(8):
            await room.send(tenant, document(name, [f"{name} water {turn} {n}" for n in range(40)]))

    async def read(mode: pb.RetrievalMode) -> int:
        count = 0
        while not stop.is_set():
            for text in await room.found(tenant, "running water", mode=mode, top_k=50):
                assert "water" in text
            count += 1
        return count

    readers = [asyncio.create_task(read(mode)) for mode in (1, 2, 3, 3, 3)]
    await asyncio.gather(*(write(f"d{n}") for n in range(4)))
    stop.set()
    assert all(await asyncio.gather(*readers))
    await room.erased()
    assert await room.row_count(tenant) == 160
