"""Stored text cut anew over real gRPC: the passages that an upload of it would make, whatever the stream."""

from __future__ import annotations

import grpc
import pytest

from rag.runtime.status import from_rpc_error
from rag.v1 import ingestor_pb2 as pb

BODY = "The pump is checked every week by the leader of the shift. " * 30
HASH = "0" * 64


def header(**changes: str) -> pb.SplitPagesRequest:
    fields = {"document_id": "doc", "content_hash": HASH, "title": "Plant", **changes}
    return pb.SplitPagesRequest(header=pb.SplitPagesHeader(**fields))


def page(number: int, text: str) -> pb.SplitPagesRequest:
    return pb.SplitPagesRequest(page=pb.SplitPage(number=number, text=text))


async def split(client, *requests):
    async def stream():
        for request in requests:
            yield request

    call = client.stub.SplitPages(stream(), metadata=client.metadata, timeout=30)
    return [passage async for answer in call for passage in answer.passages]


async def refusal(client, *requests) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await split(client, *requests)
    assert failure.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    return from_rpc_error(failure.value, "ingestor").reason


async def test_stored_text_becomes_the_passages_that_its_upload_made(mesh, client):
    text = f"# Plant\n\n{BODY}\n\n## Pumps\n\n{BODY * 30}"
    job = await client.index(text.encode(), "a.md", document_id="doc")
    assert job.state == pb.JOB_STATE_READY
    (version,) = mesh.retriever.versions
    asked = header(content_hash=version.header.content_hash, title=version.header.title)
    assert await split(client, asked, page(0, text)) == version.passages
    assert len(version.passages) > 50


async def test_a_page_may_come_in_parts(client):
    whole = await split(client, header(), page(1, f"{BODY}\n\n"), page(2, "Next."))
    parts = await split(client, header(), page(1, f"{BODY}\n"), page(1, "\n"), page(2, "Next."))
    assert parts == whole
    assert [passage.page for passage in whole][-2:] == [1, 2]
    assert whole[-1].char_start == len(BODY) + 3


async def test_ids_are_those_of_the_tenant_and_its_document(client):
    ids = set()
    for asked in (header(), header(document_id="d2"), header(content_hash="1" * 64)):
        ids |= {passage.id for passage in await split(client, asked, page(1, "Text"))}
    client.tenant = "another"
    ids |= {passage.id for passage in await split(client, header(), page(1, "Text"))}
    assert len(ids) == 4


async def test_a_text_without_words_has_no_passages(client):
    assert await split(client, header()) == []
    assert await split(client, header(), page(1, ""), page(2, " \n")) == []


@pytest.mark.parametrize(
    ("requests", "reason"),
    [
        ([], "HEADER_MISSING"),
        ([pb.SplitPagesRequest()], "HEADER_MISSING"),
        ([page(1, "Text")], "HEADER_MISSING"),
        ([header(document_id="")], "BAD_ID"),
        ([header(document_id="a/b")], "BAD_ID"),
        ([header(content_hash="abc")], "BAD_CONTENT_HASH"),
        ([header(title="x" * 5_000)], "BAD_TITLE"),
        ([header(), header()], "PAGE_EXPECTED"),
        ([header(), page(1, "Text"), pb.SplitPagesRequest()], "PAGE_EXPECTED"),
        ([header(), page(2, "Text"), page(1, "Text")], "PAGES_OUT_OF_ORDER"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_stream_out_of_order_is_refused(client, requests, reason):
    assert await refusal(client, *requests) == reason
