"""Bad input at both doors: each its own clear error, nothing half-indexed, and the services go on."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import pypdf
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from reportlab.pdfgen.canvas import Canvas

from rag.client import RagClient
from rag.v1 import generator_pb2 as generator
from rag.v1 import generator_pb2_grpc, ingestor_pb2_grpc, retriever_pb2_grpc
from rag.v1 import ingestor_pb2 as ingestor
from rag.v1 import passage_pb2 as passage
from rag.v1 import retriever_pb2 as retriever
from tests.system.processes import Tree

INVALID = (grpc.StatusCode.INVALID_ARGUMENT, 400)
MISSING = (grpc.StatusCode.NOT_FOUND, 404)
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01" + bytes(200)


@pytest.fixture
async def http(tree: Tree) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=tree.url, timeout=60) as client:
        yield client


@pytest.fixture
async def channel(tree: Tree) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(tree.address) as channel:
        yield channel


def pdf(text: str = "A page that says something.", pages: int = 1) -> bytes:
    buffer = io.BytesIO()
    canvas = Canvas(buffer)
    for _ in range(pages):
        if text:
            canvas.drawString(72, 720, text)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def locked(content: bytes) -> bytes:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(content))
    writer.encrypt(user_password="secret", algorithm="AES-256")
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def reason_of(error: grpc.aio.AioRpcError) -> str:
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(error)
    assert status is not None
    assert [detail.Unpack(info) for detail in status.details].count(True) == 1
    assert info.domain == "ragmesh"
    return info.reason


def check_problem(response: httpx.Response, status: int, reason: str) -> None:
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert (response.status_code, problem["status"], problem["reason"]) == (status, status, reason), problem
    assert problem["detail"].endswith(".")
    assert problem["request_id"] == response.headers["x-request-id"]


QUESTIONS: list[tuple[dict[str, Any], generator.GenerateRequest, str]] = [
    ({"question": ""}, generator.GenerateRequest(), "EMPTY_QUESTION"),
    ({"question": " \n "}, generator.GenerateRequest(question=" \n "), "EMPTY_QUESTION"),
    ({"question": "x" * 1_000_000}, generator.GenerateRequest(question="x" * 1_000_000), "QUESTION_TOO_LONG"),
    ({"question": "x", "top_k": 0}, generator.GenerateRequest(question="x", top_k=0), "BAD_TOP_K"),
    ({"question": "x", "top_k": 10_000}, generator.GenerateRequest(question="x", top_k=10_000), "BAD_TOP_K"),
    ({"question": "x", "min_score": 2.0}, generator.GenerateRequest(question="x", min_score=2.0), "BAD_MIN_SCORE"),
]


@pytest.mark.parametrize(
    ("body", "request_", "reason"), QUESTIONS, ids=[f"{q[2]}-{i}" for i, q in enumerate(QUESTIONS)]
)
async def test_a_bad_question(
    http: httpx.AsyncClient,
    channel: grpc.aio.Channel,
    body: dict[str, Any],
    request_: generator.GenerateRequest,
    reason: str,
) -> None:
    check_problem(await http.post("/v1/query", json=body), 400, reason)
    check_problem(await http.post("/v1/query", json={**body, "stream": True}), 400, reason)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        [event async for event in generator_pb2_grpc.GeneratorServiceStub(channel).Generate(request_, timeout=30)]
    assert (raised.value.code(), reason_of(raised.value)) == (INVALID[0], reason)


async def test_not_a_number_is_no_score(http: httpx.AsyncClient, channel: grpc.aio.Channel) -> None:
    response = await http.post(
        "/v1/search", content=b'{"query": "x", "min_score": NaN}', headers={"content-type": "application/json"}
    )
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    stub = retriever_pb2_grpc.RetrieverServiceStub(channel)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        [
            event
            async for event in stub.Retrieve(retriever.RetrieveRequest(query="x", min_score=float("nan")), timeout=30)
        ]
    assert (raised.value.code(), reason_of(raised.value)) == (INVALID[0], "BAD_MIN_SCORE")


async def test_unknown_things_are_not_found(http: httpx.AsyncClient, channel: grpc.aio.Channel) -> None:
    check_problem(await http.get("/v1/documents/nothing"), 404, "DOCUMENT_NOT_FOUND")
    check_problem(await http.delete("/v1/documents/nothing"), 404, "DOCUMENT_NOT_FOUND")
    check_problem(await http.get("/v1/jobs/nothing"), 404, "JOB_NOT_FOUND")
    check_problem(await http.get("/v1/jobs/nothing/events"), 404, "JOB_NOT_FOUND")
    check_problem(await http.get("/v1/documents/not%20an%20id"), 400, "BAD_ID")
    documents = retriever_pb2_grpc.RetrieverServiceStub(channel)
    jobs = ingestor_pb2_grpc.IngestorServiceStub(channel)
    for call in (
        documents.GetDocument(retriever.GetDocumentRequest(document_id="nothing"), timeout=30),
        documents.DeleteDocument(retriever.DeleteDocumentRequest(document_id="nothing"), timeout=30),
        jobs.GetJob(ingestor.GetJobRequest(job_id="nothing"), timeout=30),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call
        assert raised.value.code() is MISSING[0]
        assert reason_of(raised.value) in {"DOCUMENT_NOT_FOUND", "JOB_NOT_FOUND"}


REFUSED = [
    ("empty.txt", b"", "EMPTY_FILE"),
    ("photo.pdf", JPEG, "UNSUPPORTED_TYPE"),
]
FAILED = [
    ("cut.pdf", pdf(pages=20)[:700], "PDF_DAMAGED"),
    ("locked.pdf", locked(pdf()), "PDF_ENCRYPTED"),
    ("scanned.pdf", pdf(text=""), "PDF_NO_TEXT"),
]


@pytest.mark.parametrize(("name", "content", "reason"), REFUSED, ids=[name for name, *_ in REFUSED])
async def test_a_file_refused_at_the_door(
    http: httpx.AsyncClient, channel: grpc.aio.Channel, name: str, content: bytes, reason: str
) -> None:
    check_problem(await http.post("/v1/documents", files={"file": (name, content)}), 400, reason)

    async def parts() -> AsyncIterator[ingestor.SubmitDocumentRequest]:
        yield ingestor.SubmitDocumentRequest(header=ingestor.SubmitDocumentHeader(name=name))
        yield ingestor.SubmitDocumentRequest(chunk=content)
        yield ingestor.SubmitDocumentRequest(commit=ingestor.SubmitDocumentCommit(size_bytes=len(content)))

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await ingestor_pb2_grpc.IngestorServiceStub(channel).SubmitDocument(parts(), timeout=30)
    assert (raised.value.code(), reason_of(raised.value)) == (INVALID[0], reason)


@pytest.mark.parametrize(("name", "content", "reason"), FAILED, ids=[name for name, *_ in FAILED])
async def test_a_file_that_cannot_be_read_fails_its_job_and_leaves_nothing(
    http: httpx.AsyncClient, tree: Tree, name: str, content: bytes, reason: str
) -> None:
    response = await http.post("/v1/documents", files={"file": (name, content)})
    assert response.status_code == 202
    job = response.json()
    async with RagClient(tree.address) as rag:
        last = [event.job async for event in rag.watch(job["id"])][-1]
    assert (last.state, last.error.reason) == (ingestor.JOB_STATE_FAILED, reason)
    assert last.error.message.endswith(".")
    check_problem(await http.get(f"/v1/documents/{job['document_id']}"), 404, "DOCUMENT_NOT_FOUND")


async def test_broken_utf8(http: httpx.AsyncClient, channel: grpc.aio.Channel) -> None:
    headers = {"content-type": "application/json"}
    response = await http.post("/v1/query", content=b'{"question": "\xff\xfe"}', headers=headers)
    assert (response.status_code, response.headers["content-type"]) == (400, "application/problem+json")
    call = channel.unary_stream("/rag.v1.GeneratorService/Generate")(b"\x0a\x02\xff\xfe", timeout=30)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        [event async for event in call]
    assert (raised.value.code(), reason_of(raised.value)) == (INVALID[0], "BAD_MESSAGE")


@pytest.mark.parametrize("hostile", ['x" or tenant == "y', "x' or 1 == 1 --", 'x\\" or true', "ünï\ncode"])
async def test_a_quote_in_a_filter_is_a_value_like_any_other(
    http: httpx.AsyncClient, channel: grpc.aio.Channel, hostile: str
) -> None:
    condition = {"key": "author", "equals": hostile}
    response = await http.post("/v1/search", json={"query": "x", "filter": {"conditions": [condition]}})
    assert (response.status_code, response.json()["hits"]) == (200, [])
    check_problem(
        await http.post("/v1/search", json={"query": "x", "filter": {"document_ids": [hostile]}}), 400, "BAD_ID"
    )
    condition = {"key": hostile, "equals": "x"}
    refused = await http.post("/v1/search", json={"query": "x", "filter": {"conditions": [condition]}})
    assert refused.status_code == 400
    narrowed = passage.Filter(conditions=[passage.Condition(key="author", equals=passage.MetadataValue(text=hostile))])
    stub = retriever_pb2_grpc.RetrieverServiceStub(channel)
    events = [event async for event in stub.Retrieve(retriever.RetrieveRequest(query="x", filter=narrowed), timeout=30)]
    assert events[-1].HasField("summary")
    assert not [event for event in events if event.HasField("hit")]


async def test_the_services_still_serve(http: httpx.AsyncClient) -> None:
    ready = await http.get("/readyz")
    assert ready.status_code == 200, ready.text
