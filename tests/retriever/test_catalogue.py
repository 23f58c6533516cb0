from __future__ import annotations

import grpc
import pytest

from rag.paging import encode_token
from rag.v1 import retriever_pb2 as pb
from tests.retriever.room import Retriever, batch, commit, header, of, reason

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def pages(room: Retriever, tenant: str, size: int) -> list[list[str]]:
    found: list[list[str]] = []
    token = ""
    while True:
        request = pb.ListDocumentsRequest(page_size=size, page_token=token)
        page = await room.stub.ListDocuments(request, metadata=of(tenant))
        found.append([document.id for document in page.documents])
        token = page.next_page_token
        if not token:
            return found


async def test_documents_are_listed_newest_first_page_by_page(room: Retriever, tenant: str) -> None:
    for number in range(5):
        await room.index(tenant, f"d{number}", ["x"])
    await room.index(tenant, "d1", ["y"])
    assert await pages(room, tenant, 0) == [["d1", "d4", "d3", "d2", "d0"]]
    assert await pages(room, tenant, 2) == [["d1", "d4"], ["d3", "d2"], ["d0"]]
    assert await pages(room, tenant, 5) == [["d1", "d4", "d3", "d2", "d0"]]
    assert await pages(room, f"{tenant}-b", 0) == [[]]


async def test_a_listing_stays_in_step_while_documents_come_and_go(room: Retriever, tenant: str) -> None:
    for number in range(4):
        await room.index(tenant, f"d{number}", ["x"])
    first = await room.stub.ListDocuments(pb.ListDocumentsRequest(page_size=2), metadata=of(tenant))
    await room.index(tenant, "new", ["x"])
    await room.delete(tenant, "d2")
    request = pb.ListDocumentsRequest(page_size=2, page_token=first.next_page_token)
    rest = await room.stub.ListDocuments(request, metadata=of(tenant))
    assert [document.id for document in rest.documents] == ["d1", "d0"]
    assert not rest.next_page_token


async def test_passages_are_listed_in_their_order_page_by_page(room: Retriever, tenant: str) -> None:
    texts = [f"text {number}" for number in range(7)]
    await room.index(tenant, "d1", texts)
    token, read = "", []
    for expected in (3, 3, 1):
        request = pb.ListPassagesRequest(document_id="d1", page_size=3, page_token=token)
        page = await room.stub.ListPassages(request, metadata=of(tenant))
        assert len(page.passages) == expected
        read += [(passage.ordinal, passage.text, passage.document_id) for passage in page.passages]
        token = page.next_page_token
    assert not token
    assert read == [(number, text, "d1") for number, text in enumerate(texts)]


async def test_a_listing_of_passages_never_mixes_two_versions(room: Retriever, tenant: str) -> None:
    await room.index(tenant, "d1", ["a", "b", "c"])
    request = pb.ListPassagesRequest(document_id="d1", page_size=2)
    page = await room.stub.ListPassages(request, metadata=of(tenant))
    await room.index(tenant, "d1", ["d", "e", "f"])
    request.page_token = page.next_page_token
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await room.stub.ListPassages(request, metadata=of(tenant))
    assert caught.value.code() is grpc.StatusCode.ABORTED
    assert reason(caught.value) == "DOCUMENT_CHANGED"


async def test_a_deleted_document_is_gone_at_once_and_erased_after(room: Retriever, tenant: str) -> None:
    made = await room.index(tenant, "d1", [f"water {number}" for number in range(50)])
    await room.index(tenant, "d2", ["other water"])
    assert await room.delete(tenant, "d1") == made.version
    assert await room.found(tenant, "water", top_k=100) == ["other water"]
    assert await pages(room, tenant, 0) == [["d2"]]
    for call in everything_about(room, tenant, "d1"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert reason(caught.value) == "DOCUMENT_NOT_FOUND"
    await room.erased()
    assert await room.row_count(tenant) == 1


async def test_a_document_can_come_back_after_its_deletion(room: Retriever, tenant: str) -> None:
    first = await room.index(tenant, "d1", ["old water"])
    await room.delete(tenant, "d1")
    again = await room.index(tenant, "d1", ["new water"])
    assert again.version > first.version
    assert again.created_at.ToNanoseconds() >= first.updated_at.ToNanoseconds()
    await room.erased()
    assert await room.found(tenant, "water") == ["new water"]


async def test_deleting_during_indexing_refuses_the_commit(room: Retriever, tenant: str) -> None:
    await room.index(tenant, "d1", ["old water"])
    call = room.stub.Index(metadata=of(tenant), timeout=30)
    await call.write(header("d1"))
    await call.write(batch(["new water"]))
    await call.read()
    await room.delete(tenant, "d1")
    await call.write(commit(1))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert reason(caught.value) == "VERSION_SUPERSEDED"
    assert await room.found(tenant, "water") == []
    await room.erased()
    assert await room.row_count(tenant) == 0


def everything_about(room: Retriever, tenant: str, document_id: str) -> list:
    metadata = of(tenant)
    return [
        room.stub.GetDocument(pb.GetDocumentRequest(document_id=document_id), metadata=metadata),
        room.stub.ListPassages(pb.ListPassagesRequest(document_id=document_id), metadata=metadata),
        room.stub.DeleteDocument(pb.DeleteDocumentRequest(document_id=document_id), metadata=metadata),
    ]


async def test_a_foreign_document_reads_like_one_that_never_was(room: Retriever, tenant: str) -> None:
    await room.index(f"{tenant}-b", "theirs", ["x"])
    answers = set()
    for name in ("theirs", "never"):
        for call in everything_about(room, tenant, name):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            answers.add((caught.value.code(), caught.value.details(), reason(caught.value)))
    assert answers == {(grpc.StatusCode.NOT_FOUND, "There is no such document.", "DOCUMENT_NOT_FOUND")}
    assert (await room.get(f"{tenant}-b", "theirs")).id == "theirs"


async def test_a_malformed_id_is_refused(room: Retriever, tenant: str) -> None:
    for bad in ("", "a b", 'x"', "x" * 65, "../x", "a:b", "a/b"):
        for call in everything_about(room, tenant, bad):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert reason(caught.value) == "BAD_ID"


@pytest.mark.parametrize("token", ["x", "!!!", encode_token("a"), encode_token(1, 2, 3), encode_token(1.5), "é"])
async def test_a_page_token_of_somebody_else_is_refused(room: Retriever, tenant: str, token: str) -> None:
    await room.index(tenant, "d1", ["x"])
    listing = room.stub.ListDocuments(pb.ListDocumentsRequest(page_token=token), metadata=of(tenant))
    passages = room.stub.ListPassages(pb.ListPassagesRequest(document_id="d1", page_token=token), metadata=of(tenant))
    for call in (listing, passages):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert reason(caught.value) == "BAD_PAGE_TOKEN"


async def test_page_sizes_are_bounded(room: Retriever, tenant: str) -> None:
    await room.index(tenant, "d1", ["x"])
    for request in (pb.ListDocumentsRequest(page_size=-1),):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await room.stub.ListDocuments(request, metadata=of(tenant))
        assert reason(caught.value) == "BAD_PAGE_SIZE"
    assert await pages(room, tenant, 2**31 - 1) == [["d1"]]


async def test_forged_positions_of_passages_do_no_harm(room: Retriever, tenant: str) -> None:
    made = await room.index(tenant, "d1", ["x"])
    request = pb.ListPassagesRequest(document_id="d1", page_token=encode_token(made.version, 10))
    assert not (await room.stub.ListPassages(request, metadata=of(tenant))).passages
    for position in ((made.version, -5), (made.version, 2**70), (-1, 0), (2**70, 0)):
        request.page_token = encode_token(*position)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await room.stub.ListPassages(request, metadata=of(tenant))
        assert reason(caught.value) == "BAD_PAGE_TOKEN"
