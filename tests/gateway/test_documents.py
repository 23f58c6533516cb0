from __future__ import annotations

import asyncio
import json

import pytest

from rag.runtime.errors import AlreadyExists
from tests.gateway.stage import HOLD


async def test_a_form_is_streamed_to_the_ingestor(gateway):
    content = bytes(range(256)) * 4096  # 1 MiB, larger than a message should be
    fields = {"document_id": "doc-7", "title": "Tïtle", "metadata": '{"year": 2024, "team": "ops", "public": true}'}

    response = await gateway.http.post("/v1/documents", data=fields, files={"file": ("a b.pdf", content)})

    assert response.status_code == 202
    assert response.headers["location"] == "/v1/jobs/job-1"
    assert response.json()["size_bytes"] == len(content)
    ingestor = gateway.backends.ingestor
    assert ingestor.content == content
    assert 0 < ingestor.largest <= 256 * 1024
    assert (ingestor.header.name, ingestor.header.document_id, ingestor.header.title) == ("a b.pdf", "doc-7", "Tïtle")
    metadata = ingestor.header.metadata
    assert (metadata["year"].number, metadata["team"].text, metadata["public"].flag) == (2024, "ops", True)


async def test_raw_bytes_take_their_header_from_the_query(gateway):
    query = {"name": "x.md", "document_id": "d", "metadata": '{"n": 1.5}'}
    headers = {"content-type": "text/markdown"}
    response = await gateway.http.post("/v1/documents", params=query, content=b"# hi", headers=headers)

    assert response.status_code == 202
    ingestor = gateway.backends.ingestor
    assert (ingestor.content, ingestor.header.name, ingestor.header.metadata["n"].number) == (b"# hi", "x.md", 1.5)


async def test_text_comes_as_json(gateway):
    body = {"text": "Grüße", "metadata": {"public": False}}
    response = await gateway.http.post("/v1/documents", json=body)

    assert response.status_code == 202
    ingestor = gateway.backends.ingestor
    assert (ingestor.content.decode(), ingestor.header.name) == ("Grüße", "untitled.txt")
    assert ingestor.header.metadata["public"].WhichOneof("value") == "flag"


async def test_a_json_file_can_be_uploaded_as_raw_bytes(gateway):
    response = await gateway.http.post("/v1/documents?name=data.json", json={"any": "thing"})

    assert response.status_code == 202
    assert json.loads(gateway.backends.ingestor.content) == {"any": "thing"}


async def test_an_empty_file_is_refused_by_the_ingestor_with_its_reason(gateway):
    response = await gateway.http.post("/v1/documents", files={"file": ("a.txt", b"")})

    assert (response.status_code, response.json()["reason"]) == (400, "EMPTY_FILE")


async def test_a_refused_header_answers_before_the_body_is_over(gateway):
    gateway.backends.ingestor.refuse = AlreadyExists("There is such a document.", "DOCUMENT_EXISTS")

    response = await gateway.http.post("/v1/documents?name=a", content=b"x" * 4_000_000)

    assert (response.status_code, response.json()["reason"]) == (409, "DOCUMENT_EXISTS")


async def test_an_upload_over_the_limit_is_refused_by_length_and_by_count(open_gateway):
    async with open_gateway(max_upload_bytes=100_000) as gateway:

        async def chunks():
            for _ in range(30):
                yield b"x" * 10_000

        for content in (b"x" * 200_000, chunks()):
            response = await gateway.http.post("/v1/documents?name=a", content=content)
            assert (response.status_code, response.json()["reason"]) == (413, "UPLOAD_TOO_LARGE")
            assert response.json()["metadata"] == {"limit_bytes": "100000"}
        form = await gateway.http.post("/v1/documents", files={"file": ("a", b"x" * 100_001)})
        assert form.status_code == 413
        exact = await gateway.http.post("/v1/documents", files={"file": ("a", b"x" * 100_000)})
        assert exact.status_code == 202


async def test_a_text_that_is_too_long_for_json_is_refused(open_gateway):
    async with open_gateway(max_body_bytes=1000) as gateway:
        response = await gateway.http.post("/v1/documents", json={"text": "x" * 2000})
        raw = await gateway.http.post("/v1/documents?name=a", content=b"x" * 2000)

    assert (response.status_code, response.json()["reason"], raw.status_code) == (413, "UPLOAD_TOO_LARGE", 202)


@pytest.mark.parametrize("where", ["upload", "answer"])
async def test_a_client_who_leaves_while_uploading_cancels_the_upload(gateway, where):
    ingestor = gateway.backends.ingestor
    if where == "answer":
        gateway.backends.retriever.stage.script = [HOLD]
        head = "DELETE /v1/documents/doc-1 HTTP/1.1\r\nhost: localhost\r\n\r\n"
        stage, reached = gateway.backends.retriever.stage, gateway.backends.retriever.stage.entered
    else:
        head = "POST /v1/documents?name=a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\npart"
        stage, reached = ingestor.stage, ingestor.first_bytes
        stage.script = [HOLD]
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.http_port)
    writer.write(head.encode())
    await asyncio.wait_for(reached.wait(), 20)
    writer.close()
    await writer.wait_closed()

    await asyncio.wait_for(stage.cancelled.wait(), 20)


def _form(*parts: bytes, end: bytes = b"--b--\r\n") -> bytes:
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + end


FILE = b'Content-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\ntext'
TITLE = b'Content-Disposition: form-data; name="title"\r\n\r\nT'


@pytest.mark.parametrize(
    ("content", "kind", "reason"),
    [
        (_form(TITLE), "multipart/form-data; boundary=b", "NO_FILE"),
        (_form(FILE, TITLE), "multipart/form-data; boundary=b", "FIELD_AFTER_FILE"),
        (_form(FILE, end=b""), "multipart/form-data; boundary=b", "BAD_FORM"),
        (b"nonsense", "multipart/form-data; boundary=b", "BAD_FORM"),
        (_form(FILE), "multipart/form-data", "BAD_FORM"),
        (_form(*[TITLE] * 20, FILE), "multipart/form-data; boundary=b", "BAD_FORM"),
        (_form(TITLE.replace(b"T", b"\xff"), FILE), "multipart/form-data; boundary=b", "BAD_FORM"),
        (_form(TITLE.replace(b'"title"', b'"colour"'), FILE), "multipart/form-data; boundary=b", "INVALID"),
        (_form(TITLE.replace(b'"title"', b'"metadata"'), FILE), "multipart/form-data; boundary=b", "INVALID"),
        (b"", "multipart/form-data; boundary=b", "NO_FILE"),
        (b"bytes", "application/pdf", "NO_NAME"),
        (b'{"text": "a", "metadata": {"a": [1]}}', "application/json", "INVALID"),
        (b'{"text": "a", "metadata": {"a": NaN}}', "application/json", "INVALID"),
        (b'{"text": 5}', "application/json", "INVALID"),
        (b'{"text": "\xff"}', "application/json", "INVALID"),
        (b"{", "application/json", "INVALID"),
        (b"", "application/json", "INVALID"),
    ],
)
async def test_a_malformed_upload_has_its_own_error(gateway, content, kind, reason):
    response = await gateway.http.post("/v1/documents", content=content, headers={"content-type": kind})

    assert (response.status_code, response.json()["reason"]) == (400, reason), response.text
    assert response.headers["content-type"] == "application/problem+json"


async def test_the_catalogue_is_listed_page_by_page(gateway):
    response = await gateway.http.get("/v1/documents", params={"page_size": 5, "page_token": "t"})

    body = response.json()
    assert body["next_page_token"] == "next"
    document = body["documents"][0]
    assert document["version"] == 2**40
    assert document["metadata"] == {"year": 2024.0, "team": "ops", "public": True}
    assert document["created_at"] == "2026-01-02T03:04:05Z"
    assert document["updated_at"] is None
    sent = gateway.backends.retriever.stage.requests[0]
    assert (sent.page_size, sent.page_token) == (5, "t")


@pytest.mark.parametrize("size", ["x", "99999999999", "1.5"])
async def test_a_page_size_that_is_none_is_named(gateway, size):
    response = await gateway.http.get("/v1/documents", params={"page_size": size})

    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == "page_size"


async def test_one_document_its_passages_and_its_deletion(gateway):
    assert (await gateway.http.get("/v1/documents/doc-1")).json()["id"] == "doc-1"
    passages = (await gateway.http.get("/v1/documents/doc-1/passages")).json()["passages"]
    assert (passages[0]["id"], passages[0]["page"]) == ("p-1", 3)
    deleted = await gateway.http.delete("/v1/documents/doc-1")
    assert (deleted.status_code, deleted.content) == (204, b"")


async def test_a_document_that_exists_only_as_jobs_is_deleted_too(gateway):
    deleted = await gateway.http.delete("/v1/documents/doc-queued")
    assert (deleted.status_code, deleted.content) == (204, b"")
    unknown = await gateway.http.delete("/v1/documents/nope")
    assert (unknown.status_code, unknown.json()["reason"]) == (404, "DOCUMENT_NOT_FOUND")


@pytest.mark.parametrize("path", ["/v1/documents/nope", "/v1/documents/nope/passages", "/v1/documents/%ff%00"])
async def test_an_unknown_document_is_not_found(gateway, path):
    response = await gateway.http.get(path)

    assert (response.status_code, response.json()["reason"]) == (404, "DOCUMENT_NOT_FOUND")
