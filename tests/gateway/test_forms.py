"""Several files in one request, through real HTTP."""

from __future__ import annotations

import asyncio
import json

import pytest

from rag.runtime.errors import InvalidInput, Unavailable
from tests.gateway.forms import END, FORM, field, file
from tests.waiting import until

UNSUPPORTED = InvalidInput("This type is not read.", "UNSUPPORTED_TYPE")


def _files(*names: str) -> list[tuple[str, tuple[str, bytes]]]:
    return [("file", (name, f"content of {name}".encode())) for name in names]


async def _post(gateway, *parts: bytes):
    return await gateway.http.post("/v1/documents", content=b"".join([*parts, END]), headers=FORM)


async def test_several_files_are_several_documents_in_their_order(gateway):
    response = await gateway.http.post("/v1/documents", files=_files("a.txt", "b.txt", "c.txt"))

    assert response.status_code == 202
    assert "location" not in response.headers
    results = response.json()["results"]
    assert [result["name"] for result in results] == ["a.txt", "b.txt", "c.txt"]
    assert all(result["job"]["state"] == "queued" for result in results)
    uploads = gateway.backends.ingestor.uploads
    assert [upload.content.decode() for upload in uploads] == [
        f"content of {name}" for name in ["a.txt", "b.txt", "c.txt"]
    ]


async def test_curl_sends_several_files_with_one_flag_each(gateway, tmp_path):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(name * 1000)
    curl = await asyncio.create_subprocess_exec(
        *("curl", "-sS", "-F", 'metadata={"team": "ops"}', "-F", f"file=@{tmp_path}/a.txt", "-F", f"file=@{tmp_path}/b.txt"),
        f"http://127.0.0.1:{gateway.http_port}/v1/documents",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await curl.communicate()

    assert [result["name"] for result in json.loads(out)["results"]] == ["a.txt", "b.txt"]
    assert gateway.backends.ingestor.committed == ["a.txt", "b.txt"]


async def test_fields_count_for_the_files_after_them_until_they_are_sent_again(gateway):
    response = await _post(
        gateway,
        field("metadata", '{"team": "ops"}'),
        field("password", "p1"),
        field("document_id", "doc-a"),
        file("a", b"1"),
        field("document_id", "doc-b"),
        field("title", "B"),
        file("b", b"2"),
        field("metadata", '{"team": "dev"}'),
        field("document_id", ""),
        file("c", b"3"),
    )

    assert response.status_code == 202
    headers = [upload.header for upload in gateway.backends.ingestor.uploads]
    seen = [(h.document_id, h.title, h.metadata["team"].text, h.password) for h in headers]
    assert seen == [("doc-a", "", "ops", "p1"), ("doc-b", "B", "ops", "p1"), ("", "B", "dev", "p1")]


async def test_a_document_id_counts_for_one_file(gateway):
    response = await _post(gateway, field("document_id", "doc"), file("a", b"1"), file("b", b"2"))

    first, second = response.json()["results"]
    assert (response.status_code, first["job"]["state"]) == (202, "queued")
    assert (second["problem"]["status"], second["problem"]["reason"]) == (400, "DOCUMENT_ID_TWICE")
    assert gateway.backends.ingestor.committed == ["a"]


async def test_a_file_that_is_refused_does_not_stop_the_others(open_gateway):
    async with open_gateway(max_upload_bytes=100_000) as gateway:
        ingestor = gateway.backends.ingestor
        ingestor.refuse_names["type.bin"] = UNSUPPORTED
        response = await _post(
            gateway,
            file("type.bin", b"x" * 90_000),
            file("large", b"x" * 100_001),
            file("empty", b""),
            field("metadata", "{"),
            file("metadata", b"x"),
            field("metadata", ""),
            field("colour", "red"),
            file("colour", b"x"),
        )
        assert response.status_code == 400
        response = await _post(
            gateway,
            file("type.bin", b"x" * 90_000),
            file("large", b"x" * 100_001),
            file("", b"x"),
            file("good", b"x" * 100_000),
        )

    results = response.json()["results"]
    assert response.status_code == 202
    reasons = [result.get("problem", {}).get("reason") for result in results]
    assert reasons == ["UNSUPPORTED_TYPE", "UPLOAD_TOO_LARGE", "NO_NAME", None]
    assert [result["name"] for result in results] == ["type.bin", "large", "", "good"]
    assert ingestor.uploads[-1].content == b"x" * 100_000


async def test_when_all_are_refused_the_answer_is_the_problem_of_the_first_with_all_results(gateway):
    gateway.backends.ingestor.refuse_names = {
        "a": Unavailable("The queue is away.", "QUEUE_UNAVAILABLE"),
        "b": UNSUPPORTED,
    }

    response = await gateway.http.post("/v1/documents", files=_files("a", "b"), headers={"x-request-id": "abc"})

    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["retry-after"] == "1"
    body = response.json()
    assert (body["reason"], body["request_id"]) == ("QUEUE_UNAVAILABLE", "abc")
    assert [result["problem"]["reason"] for result in body["results"]] == ["QUEUE_UNAVAILABLE", "UNSUPPORTED_TYPE"]
    assert [result["problem"]["instance"] for result in body["results"]] == ["/v1/documents"] * 2


async def test_an_invalid_field_of_one_file_is_named_in_its_problem(gateway):
    response = await _post(gateway, file("a", b"1"), field("metadata", '{"a": [1]}'), file("b", b"2"))

    problem = response.json()["results"][1]["problem"]
    assert (problem["reason"], problem["errors"][0]["field"].split(".")[0]) == ("INVALID", "metadata")


async def test_a_form_that_breaks_tells_what_was_accepted_before(gateway):
    whole = file("a", b"1") + file("b", b"2") + file("c", b"3")
    response = await gateway.http.post("/v1/documents", content=whole[:-2], headers=FORM)

    results = response.json()["results"]
    assert response.status_code == 202
    assert [result["name"] for result in results] == ["a", "b", "c"]
    assert results[2]["problem"]["reason"] == "BAD_FORM"
    await until(lambda: gateway.backends.ingestor.committed == ["a", "b"])


async def test_a_form_that_breaks_after_a_refused_file_tells_both(gateway):
    gateway.backends.ingestor.refuse_names["b"] = UNSUPPORTED
    response = await gateway.http.post("/v1/documents", content=file("a", b"1") + file("b", b"2"), headers=FORM)

    results = response.json()["results"]
    assert [(r["name"], r.get("problem", {}).get("reason")) for r in results] in (
        [("a", None), ("b", "UNSUPPORTED_TYPE"), (None, "BAD_FORM")],
        [("a", None), ("b", "BAD_FORM")],
    )


async def test_more_files_than_allowed_are_left_out(open_gateway):
    async with open_gateway(max_files=2) as gateway:
        response = await gateway.http.post("/v1/documents", files=_files("a", "b", "c", "d"))

    results = response.json()["results"]
    assert [result.get("problem", {}).get("reason") for result in results] == [None, None, "TOO_MANY_FILES"]
    assert results[2]["problem"]["metadata"] == {"max_files": "2"}
    assert gateway.backends.ingestor.committed == ["a", "b"]


@pytest.mark.parametrize("declared", [True, False])
async def test_a_form_that_is_too_large_in_all_is_refused(open_gateway, declared):
    async with open_gateway(max_upload_bytes=1_000_000, max_form_bytes=1_500_000) as gateway:
        body = b"".join(file(name, b"x" * 900_000) for name in "abc") + END

        async def pieces():
            for start in range(0, len(body), 50_000):
                yield body[start : start + 50_000]

        response = await gateway.http.post("/v1/documents", content=body if declared else pieces(), headers=FORM)
        enough = b"".join(file(name, b"x" * 900_000) for name in "ab") + END
        assert (await gateway.http.post("/v1/documents", content=enough, headers=FORM)).status_code == 202

    if declared:
        assert (response.status_code, response.json()["reason"]) == (413, "FORM_TOO_LARGE")
    else:
        results = response.json()["results"]
        assert [r.get("problem", {}).get("reason") for r in results] == [None, None, "FORM_TOO_LARGE"]


async def test_a_hundred_files_in_each_of_several_requests_at_once(gateway):
    names = [f"{n}.txt" for n in range(100)]

    async def send(prefix: str):
        return await gateway.http.post("/v1/documents", files=_files(*(prefix + name for name in names)))

    responses = await asyncio.gather(*(send(f"{n}-") for n in range(4)))

    for n, response in enumerate(responses):
        assert [result["name"] for result in response.json()["results"]] == [f"{n}-{name}" for name in names]
    uploads = gateway.backends.ingestor.uploads
    assert len(uploads) == 400
    assert all(upload.content.decode() == f"content of {upload.header.name}" for upload in uploads)
