"""What a client says about an upload: keys that make it safe to repeat, passwords, URLs."""

from __future__ import annotations

import asyncio
import logging

import pytest

from rag.runtime.errors import FailedPrecondition, PermissionDenied
from tests.gateway.forms import END, FORM, field, file

KEY = "idempotency-key"


def _sent(gateway) -> list[tuple[str, str]]:
    headers = [upload.header for upload in gateway.backends.ingestor.uploads]
    return [(header.request_id, header.password) for header in headers]


async def test_the_key_of_the_header_wins_in_each_form_of_an_upload(gateway):
    headers = {KEY: "from-header"}
    responses = [
        await gateway.http.post(
            "/v1/documents", data={"request_id": "x"}, files={"file": ("a", b"1")}, headers=headers
        ),
        await gateway.http.post("/v1/documents?name=a&request_id=x", content=b"1", headers=headers),
        await gateway.http.post("/v1/documents", json={"text": "1", "request_id": "x"}, headers=headers),
    ]

    assert [response.status_code for response in responses] == [202] * 3
    assert _sent(gateway) == [("from-header", "")] * 3


async def test_the_key_may_come_as_a_field(gateway):
    await gateway.http.post("/v1/documents", data={"request_id": "k"}, files={"file": ("a", b"1")})
    await gateway.http.post("/v1/documents?name=a&request_id=k", content=b"1")
    await gateway.http.post("/v1/documents", json={"text": "1", "request_id": "k"})

    assert _sent(gateway) == [("k", "")] * 3


async def test_each_file_of_a_form_has_a_key_of_its_own_by_its_position(gateway):
    files = [("file", (name, name.encode())) for name in "abc"]
    for _ in range(2):
        response = await gateway.http.post("/v1/documents", files=files, headers={KEY: "k"})
        assert [result["job"]["state"] for result in response.json()["results"]] == ["queued"] * 3
    assert [key for key, _ in _sent(gateway)] == ["k", "k/2", "k/3"] * 2


async def test_a_key_sent_as_a_field_counts_from_where_it_was_sent(gateway):
    parts = [
        field("request_id", "k"),
        file("a", b"1"),
        file("b", b"2"),
        field("request_id", "l"),
        file("c", b"3"),
        file("d", b"4"),
    ]
    await gateway.http.post("/v1/documents", content=b"".join([*parts, END]), headers=FORM)

    assert [key for key, _ in _sent(gateway)] == ["k", "k/2", "l", "l/2"]


async def test_a_key_that_was_used_for_another_content_is_a_conflict(gateway):
    first = await gateway.http.post("/v1/documents?name=a", content=b"1", headers={KEY: "k"})
    again = await gateway.http.post("/v1/documents?name=a", content=b"1", headers={KEY: "k"})
    other = await gateway.http.post("/v1/documents?name=a", content=b"2", headers={KEY: "k"})

    assert [response.status_code for response in (first, again, other)] == [202, 202, 409]
    assert other.json()["reason"] == "IDEMPOTENCY_KEY_REUSED"


async def test_a_key_that_was_used_is_the_conflict_of_its_file_alone(gateway):
    await gateway.http.post("/v1/documents?name=a", content=b"1", headers={KEY: "k/2"})
    files = [("file", ("a", b"a")), ("file", ("b", b"b"))]
    response = await gateway.http.post("/v1/documents", files=files, headers={KEY: "k"})

    first, second = response.json()["results"]
    assert (first["job"]["state"], second["problem"]["status"]) == ("queued", 409)


@pytest.mark.parametrize("name", [KEY, "x-document-password"])
@pytest.mark.parametrize("value", [b"", b"\xff"])
async def test_a_header_without_a_value_is_refused(gateway, name, value):
    response = await gateway.http.post("/v1/documents?name=a", content=b"1", headers={name: value})

    assert (response.status_code, response.json()["reason"]) == (400, "BAD_HEADER")
    assert not gateway.backends.ingestor.uploads


async def test_a_password_comes_as_header_field_or_member(gateway):
    password = "pässwörd"
    header = {"x-document-password": password.encode()}
    await gateway.http.post("/v1/documents?name=a", content=b"1", headers=header)
    await gateway.http.post("/v1/documents", data={"password": password}, files={"file": ("a", b"1")})
    await gateway.http.post("/v1/documents", data={"password": "x"}, files={"file": ("a", b"1")}, headers=header)
    await gateway.http.post("/v1/documents", json={"text": "1", "password": password})

    assert _sent(gateway) == [("", password)] * 4


@pytest.mark.parametrize("kind", ["application/pdf", "application/json", FORM["content-type"]])
async def test_a_password_in_the_url_is_refused_and_not_repeated(gateway, kind):
    response = await gateway.http.post(
        "/v1/documents?name=a&password=secret", content=b"1", headers={"content-type": kind}
    )

    assert (response.status_code, response.json()["reason"]) == (400, "PASSWORD_IN_URL")
    assert "secret" not in response.text
    assert not gateway.backends.ingestor.uploads


async def test_what_is_secret_or_private_is_not_logged_nor_answered(gateway, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    body = {
        "text": "s3cret",
        "password": "s3cret",
        "title": "s3cret",
        "request_id": "s3cret",
        "metadata": {"a": "s3cret"},
    }
    good = await gateway.http.post("/v1/documents", json={**body, "name": "s3cret"})
    bad = await gateway.http.post("/v1/documents", json={**body, "password": ["s3cret"]})
    url = await gateway.http.post("/v1/documents", json={"url": "https://s3cret.example/?key=s3cret"})
    form = await gateway.http.post(
        "/v1/documents", data={"password": "s3cret", "colour": "s3cret"}, files={"file": ("a", b"1")}
    )

    assert (good.status_code, bad.status_code, url.status_code, form.status_code) == (202, 400, 202, 400)
    assert all("s3cret" not in response.text for response in (good, bad, url, form))
    printed = capsys.readouterr()
    logged = [
        record.getMessage() for record in caplog.records if record.name.startswith(("rag", "services", "uvicorn"))
    ]
    assert "s3cret" not in printed.out + printed.err + "".join(logged)


async def test_a_url_is_submitted_with_all_that_is_said_about_it(gateway):
    body = {"url": "https://example.org/a.pdf", "document_id": "d", "title": "T", "metadata": {"n": 1}, "password": "p"}
    response = await gateway.http.post("/v1/documents", json=body, headers={KEY: "k"})

    assert (response.status_code, response.headers["location"]) == (202, "/v1/jobs/job-1")
    assert response.json()["state"] == "queued"
    sent = gateway.backends.ingestor.stage.requests[0]
    header = sent.header
    assert (sent.url, header.document_id, header.title, header.name) == ("https://example.org/a.pdf", "d", "T", "")
    assert (header.metadata["n"].number, header.request_id, header.password) == (1, "k", "p")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (FailedPrecondition("URLs are not fetched here.", "URLS_DISABLED"), 400),
        (PermissionDenied("This address is not public.", "URL_NOT_ALLOWED"), 403),
    ],
)
async def test_a_url_that_is_refused_is_a_problem(gateway, error, status):
    gateway.backends.ingestor.refuse = error
    response = await gateway.http.post("/v1/documents", json={"url": "http://127.0.0.1/"})

    assert (response.status_code, response.json()["reason"]) == (status, error.reason)


@pytest.mark.parametrize("body", [{}, {"url": "https://a.example", "text": "a"}, {"url": 5}, {"url": None}])
async def test_exactly_one_of_text_and_url_is_given(gateway, body):
    response = await gateway.http.post("/v1/documents", json=body)

    assert (response.status_code, response.json()["reason"]) == (400, "INVALID")
    assert not gateway.backends.ingestor.stage.requests


async def test_an_empty_text_is_a_text(gateway):
    response = await gateway.http.post("/v1/documents", json={"text": ""})

    assert (response.status_code, response.json()["reason"]) == (400, "EMPTY_FILE")


@pytest.mark.parametrize("kind", ["application/octet-stream", "application/json"])
async def test_a_slow_upload_is_cut(open_gateway, kind):
    async with open_gateway(upload_timeout_s=0.5) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.http_port)
        query = "" if kind == "application/json" else "?name=a"
        head = f"POST /v1/documents{query} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\ncontent-length: 100\r\n\r\n{{"
        writer.write(head.encode())
        status = await asyncio.wait_for(reader.readline(), 20)
        writer.close()
        await writer.wait_closed()

    assert status.split()[1] == b"504"
    assert not gateway.backends.ingestor.committed
