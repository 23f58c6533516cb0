"""The ingestor over real gRPC: what is accepted, what is refused, and what becomes of it."""

from __future__ import annotations

import asyncio
import hashlib
import io

import grpc
import pypdf
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from rag.runtime.errors import InvalidInput, Overloaded, Unavailable
from rag.v1 import ingestor_pb2 as pb
from tests.ingestor.pdfs import image_only_pdf, pdf, pdf_of_pages, pdf_with_content
from tests.waiting import until

TEXT = "# Pumps\n\nThe pump in hall one is checked every week.\n\n## Valves\n\nThe valve is checked every month.\n"


def reason_of(error: grpc.aio.AioRpcError) -> str:
    info = error_details_pb2.ErrorInfo()
    for detail in rpc_status.from_call(error).details:
        if detail.Unpack(info):
            return info.reason
    return ""


async def refusal(call) -> tuple[grpc.StatusCode, str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), reason_of(caught.value), caught.value.details()


async def test_a_pdf_becomes_a_live_version_with_exact_offsets(mesh, client):
    content = pdf(pages=5, title="Handbook")
    job = await client.submit(content, "handbook.pdf", metadata={})
    assert (job.state, job.size_bytes, job.name) == (pb.JOB_STATE_QUEUED, len(content), "handbook.pdf")
    events = await client.watch(job.id)
    done = events[-1].job
    assert done.state == pb.JOB_STATE_READY, done
    assert done.document_version == 1
    assert done.finished_at.seconds >= done.created_at.seconds
    version = mesh.retriever.versions[0]
    assert (version.header.media_type, version.header.content_hash) == (
        "application/pdf",
        hashlib.sha256(content).hexdigest(),
    )
    assert (version.commit.page_count, version.commit.title) == (5, "Handbook")
    assert version.commit.passage_count == len(version.passages) == done.progress.passages_indexed
    assert [passage.ordinal for passage in version.passages] == list(range(len(version.passages)))
    assert {passage.page for passage in version.passages} == {1, 2, 3, 4, 5}
    assert all(passage.char_end - passage.char_start == len(passage.text) for passage in version.passages)
    assert (done.progress.pages_done, done.progress.pages_total, done.progress.vectors_computed) == (
        5,
        5,
        len(version.passages),
    )
    await until(lambda: mesh.files == [])


async def test_events_count_from_one_without_a_gap_and_resume_anywhere(client):
    job = await client.submit(pdf(pages=10), "a.pdf")
    events = await client.watch(job.id)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert events[0].job.state == pb.JOB_STATE_QUEUED
    for after in (1, len(events) - 1, len(events)):
        assert await client.watch(job.id, after) == events[after:]
    pages = [event.job.progress.pages_done for event in events]
    assert pages == sorted(pages)


async def test_a_watcher_sees_a_job_that_waits_and_then_runs(mesh, client):
    mesh.embedder.open.clear()
    job = await client.submit(TEXT.encode(), "pumps.md")
    watching = asyncio.create_task(client.watch(job.id))
    await until(lambda: mesh.embedder.calls >= 1)
    mesh.embedder.open.set()
    states = [event.job.state for event in await watching]
    assert states[0] == pb.JOB_STATE_QUEUED
    assert pb.JOB_STATE_RUNNING in states
    assert states[-1] == pb.JOB_STATE_READY


async def test_markdown_keeps_headings_and_title(mesh, client):
    assert (await client.index(TEXT.encode(), "pumps.md")).state == pb.JOB_STATE_READY
    version = mesh.retriever.versions[0]
    assert version.commit.title == "Pumps"
    assert version.commit.page_count == 0
    assert version.passages[0].heading == "Pumps"
    assert version.passages[0].page == 0


async def test_the_clients_title_and_metadata_win(mesh, client):
    from rag.v1 import passage_pb2

    metadata = {"year": passage_pb2.MetadataValue(number=2024), "kind": passage_pb2.MetadataValue(text="manual")}
    job = await client.index(TEXT.encode(), "pumps.md", title="My pumps", document_id="pumps-1", metadata=metadata)
    version = mesh.retriever.versions[0]
    assert (job.document_id, version.header.document_id, version.commit.title) == ("pumps-1", "pumps-1", "My pumps")
    assert dict(version.header.metadata) == metadata


async def test_the_same_bytes_are_the_same_document_with_the_same_passages(mesh, client):
    first, second = [await client.index(TEXT.encode(), name) for name in ("a.md", "b.md")]
    assert first.document_id == second.document_id == f"doc_{hashlib.sha256(TEXT.encode()).hexdigest()[:24]}"
    assert first.id != second.id
    one, two = ([passage.id for passage in version.passages] for version in mesh.retriever.versions)
    assert one == two


@pytest.mark.parametrize(
    ("content", "name", "reason", "words"),
    [
        (b"", "a.txt", "EMPTY_FILE", "empty"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(100), "scan.pdf", "UNSUPPORTED_TYPE", "JPEG image"),
        (b"\x89PNG\r\n\x1a\n" + bytes(5000), "a.md", "UNSUPPORTED_TYPE", "PNG image"),
        (bytes(range(256)) * 20, "a.txt", "UNSUPPORTED_TYPE", "binary data"),
    ],
)
async def test_what_can_be_seen_at_the_door_is_refused_there(mesh, client, content, name, reason, words):  # noqa: PLR0917
    code, found, message = await refusal(client.submit(content, name))
    assert (code, found) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert words in message
    assert mesh.files == []
    assert (await client.stub.ListJobs(pb.ListJobsRequest(), metadata=client.metadata)).jobs == []


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        (pdf(password="secret"), "locked.pdf", "PDF_ENCRYPTED"),
        (pdf(pages=4)[:700], "cut.pdf", "PDF_DAMAGED"),
        (b"%PDF-1.7\nnothing else", "junk.pdf", "PDF_DAMAGED"),
        (image_only_pdf(), "scan.pdf", "PDF_NO_TEXT"),
        (b" \n\t\n" * 50, "blank.txt", "NO_TEXT"),
    ],
)
async def test_what_shows_when_read_fails_the_job_with_its_reason(mesh, client, content, name, reason):
    job = await client.index(content, name)
    assert (job.state, job.error.reason, job.attempts) == (pb.JOB_STATE_FAILED, reason, 1)
    assert job.error.message.endswith(".")
    assert mesh.retriever.versions == []
    assert (await client.index(TEXT.encode(), "good.md")).state == pb.JOB_STATE_READY
    # Kept for a retry, with a password say.
    await until(lambda: [path.name for path in mesh.files] == [job.id])


async def test_a_pdf_with_an_empty_user_password_opens(mesh, client):
    assert (await client.index(pdf(pages=2, password=""), "a.pdf")).state == pb.JOB_STATE_READY
    assert mesh.retriever.versions[0].commit.page_count == 2


async def test_empty_pages_give_no_passage_and_keep_the_count(mesh, client):
    await client.index(pdf_of_pages(["First page.", "", "Third page."]), "a.pdf")
    version = mesh.retriever.versions[0]
    assert [(passage.page, passage.text) for passage in version.passages] == [(1, "First page."), (3, "Third page.")]
    assert [passage.char_start for passage in version.passages] == [0, len("First page.\n\f\f")]


async def test_an_upload_over_the_limit_is_cut_off_and_nothing_stays(mesh):
    async with mesh.ingestor(max_upload_bytes=1_000_000) as client:
        code, reason, message = await refusal(client.submit(b"a" * 1_000_001, "big.txt"))
        assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "UPLOAD_TOO_LARGE")
        assert "1000000" in message
        assert mesh.files == []


async def test_a_client_that_leaves_in_mid_upload_leaves_nothing(mesh, client):
    async def requests():
        yield pb.SubmitDocumentRequest(header=pb.SubmitDocumentHeader(name="a.txt"))
        yield pb.SubmitDocumentRequest(chunk=b"some text " * 50_000)
        await asyncio.Event().wait()

    call = client.stub.SubmitDocument(requests(), metadata=client.metadata)
    await until(lambda: any(path.stat().st_size for path in mesh.files))
    call.cancel()
    await until(lambda: mesh.files == [])
    assert (await client.stub.ListJobs(pb.ListJobsRequest(), metadata=client.metadata)).jobs == []


@pytest.mark.parametrize(
    ("requests", "reason"),
    [
        ([], "HEADER_MISSING"),
        ([pb.SubmitDocumentRequest(chunk=b"text")], "HEADER_MISSING"),
        (
            [
                pb.SubmitDocumentRequest(header=pb.SubmitDocumentHeader(name="a")),
                pb.SubmitDocumentRequest(chunk=b"half a document"),
            ],
            "COMMIT_MISSING",
        ),
        (
            [
                pb.SubmitDocumentRequest(header=pb.SubmitDocumentHeader(name="a")),
                pb.SubmitDocumentRequest(chunk=b"some text"),
                pb.SubmitDocumentRequest(commit=pb.SubmitDocumentCommit(size_bytes=10)),
            ],
            "SIZE_MISMATCH",
        ),
        ([pb.SubmitDocumentRequest(header=pb.SubmitDocumentHeader(name="a"))] * 2, "CHUNK_EXPECTED"),
        ([pb.SubmitDocumentRequest(header=pb.SubmitDocumentHeader(name=""))], "BAD_NAME"),
        ([pb.SubmitDocumentRequest(header=pb.SubmitDocumentHeader(name="a\nb"))], "BAD_NAME"),
        ([pb.SubmitDocumentRequest(header=pb.SubmitDocumentHeader(name="a", title="t" * 1001))], "BAD_TITLE"),
        ([pb.SubmitDocumentRequest(header=pb.SubmitDocumentHeader(name="a", document_id="../x"))], "BAD_ID"),
    ],
)
async def test_an_upload_out_of_order_is_refused(client, requests, reason):
    async def sent():
        for request in requests:
            yield request

    code, found, _ = await refusal(client.stub.SubmitDocument(sent(), metadata=client.metadata))
    assert (code, found) == (grpc.StatusCode.INVALID_ARGUMENT, reason)


async def test_unknown_and_foreign_jobs_read_the_same(client):
    job = await client.submit(TEXT.encode(), "a.md")
    for job_id, tenant in (("job_unknown", client.tenant), (job.id, "somebody_else")):
        metadata = (("x-rag-tenant", tenant),)
        get = client.stub.GetJob(pb.GetJobRequest(job_id=job_id), metadata=metadata)
        watch = client.stub.WatchJob(pb.WatchJobRequest(job_id=job_id), metadata=metadata).read()
        for call in (get, watch):
            code, reason, message = await refusal(call)
            assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")
            assert message == f"There is no job {job_id}."


async def test_jobs_are_listed_newest_first_page_by_page(client):
    ids = [(await client.submit(f"Text number {n}.".encode(), f"{n}.txt")).id for n in range(5)]
    listed, token = [], ""
    while True:
        request = pb.ListJobsRequest(page_size=2, page_token=token)
        page = await client.stub.ListJobs(request, metadata=client.metadata)
        listed += [job.id for job in page.jobs]
        token = page.next_page_token
        if not token:
            break
    assert listed == ids[::-1]
    other = await client.stub.ListJobs(pb.ListJobsRequest(), metadata=(("x-rag-tenant", "other"),))
    assert other.jobs == []


async def test_a_neighbour_that_is_away_for_a_while_is_waited_for(mesh, client):
    away = [Unavailable("away", "AWAY"), Unavailable("away", "AWAY")]
    mesh.embedder.failures += away
    mesh.retriever.failures.append(Unavailable("away", "AWAY"))
    job = await client.index(TEXT.encode(), "a.md")
    assert (job.state, job.attempts) == (pb.JOB_STATE_READY, 1)
    assert len(mesh.retriever.versions) == 1


async def test_a_neighbour_that_stays_away_ends_the_job_at_its_deadline(mesh):
    mesh.embedder.failures += [Overloaded("The model is busy.", "BUSY", 0.1)] * 1000
    async with mesh.ingestor(job_deadline_s=1.5) as client:
        job = await client.index(TEXT.encode(), "a.md")
    assert (job.state, job.error.reason) == (pb.JOB_STATE_DEAD, "JOB_TIMEOUT")
    assert "The model is busy." in job.error.message


async def test_what_a_neighbour_refuses_for_good_fails_the_job(mesh, client):
    mesh.retriever.failures.append(InvalidInput("The vectors do not fit.", "WRONG_MODEL"))
    job = await client.index(TEXT.encode(), "a.md")
    assert (job.state, job.error.reason, job.error.message) == (
        pb.JOB_STATE_FAILED,
        "WRONG_MODEL",
        "The vectors do not fit.",
    )


async def test_without_an_append_only_file_uploads_are_refused(mesh, volatile_redis_url):
    mesh.redis_url = volatile_redis_url
    async with mesh.ingestor() as client:
        code, reason, _ = await refusal(client.submit(TEXT.encode(), "a.md"))
        assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "QUEUE_NOT_DURABLE")
        assert mesh.files == []
    async with mesh.ingestor(require_aof=False) as client:
        assert (await client.index(TEXT.encode(), "a.md")).state == pb.JOB_STATE_READY


async def test_without_redis_uploads_are_refused_and_nothing_is_kept(mesh, tmp_path):
    mesh.redis_url = f"unix://{tmp_path}/nobody.sock"
    async with mesh.ingestor() as client:
        code, reason, _ = await refusal(client.submit(TEXT.encode(), "a.md"))
        assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "QUEUE_UNAVAILABLE")
        assert mesh.files == []


async def test_a_page_that_cannot_be_read_is_counted_and_the_others_are_searchable(mesh, client):
    writer = pypdf.PdfWriter()
    for part in (pdf(pages=2), pdf_with_content(b" " * 25_000_000), pdf(pages=1)):
        writer.append(io.BytesIO(part))
    out = io.BytesIO()
    writer.write(out)
    done = await client.index(out.getvalue(), "three-good-pages.pdf")
    assert done.state == pb.JOB_STATE_READY
    assert (done.progress.pages_done, done.progress.pages_total, done.progress.pages_skipped) == (4, 4, 1)
    assert {passage.page for passage in mesh.retriever.versions[-1].passages} == {1, 2, 4}
