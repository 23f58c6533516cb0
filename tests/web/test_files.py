"""Files and documents in the browser, with an ingestor and a retriever that can be steered."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from rag.runtime.errors import InvalidInput, Unavailable
from rag.v1 import ingestor_pb2 as pb
from tests.gateway.messages import document, job_events
from tests.gateway.stage import HOLD

pytestmark = pytest.mark.asyncio(loop_scope="session")


def running(sequence: int, done: int, of: int, written: int = 0, cut: int = 0) -> pb.WatchJobResponse:
    progress = pb.JobProgress(pages_done=done, pages_total=of, passages=cut, passages_indexed=written, seconds_left=8)
    job = pb.Job(id="job-1", document_id="doc-1", name="a.pdf", state=pb.JOB_STATE_RUNNING, progress=progress)
    return pb.WatchJobResponse(sequence=sequence, job=job)


def failed(sequence: int, reason: str, message: str) -> pb.WatchJobResponse:
    error = pb.JobError(reason=reason, message=message)
    job = pb.Job(id="job-1", document_id="doc-1", name="a.pdf", state=pb.JOB_STATE_FAILED, error=error)
    return pb.WatchJobResponse(sequence=sequence, job=job)


def a_file(name: str, text: str = "Some text.") -> dict[str, object]:
    return {"name": name, "mimeType": "text/plain", "buffer": text.encode()}


async def test_a_file_is_watched_until_it_is_ready(open_gateway, visiting):
    async with open_gateway() as gateway, visiting(str(gateway.http.base_url)) as visit:
        stage = gateway.backends.ingestor.stage
        ready = job_events("ready")[0].job
        ready.progress.pages_done, ready.progress.passages_indexed = 26, 80
        stage.script = [running(1, 12, 26, 31, 40), HOLD, pb.WatchJobResponse(sequence=2, job=ready)]
        await visit.page.set_input_files("#files", a_file("a.pdf"))

        row = visit.page.locator(".upload")
        await row.get_by_text("Reading page 12 of 26").wait_for()
        await expect(row).to_contain_text("31 passages of 40 in the index")
        await expect(row).to_contain_text("about 8 s left")
        assert 0.3 < await row.locator("progress").evaluate("bar => bar.value") < 0.5
        await visit.shoot("uploading")
        stage.release.set()

        await row.get_by_text("Ready · 26 pages · 80 passages").wait_for()
        await visit.said("a.pdf can be asked about now.")
        assert gateway.backends.ingestor.content == b"Some text."
        await visit.page.get_by_role("button", name="Clear finished").click()
        await expect(visit.page.locator("#uploads")).to_be_hidden()


async def test_several_files_at_once_each_with_its_own_end(open_gateway, visiting):
    async with open_gateway() as gateway, visiting(str(gateway.http.base_url)) as visit:
        refusal = InvalidInput("The file is not a document that can be read.", "UNSUPPORTED")
        gateway.backends.ingestor.refuse_names = {"bad.bin": refusal}
        await visit.page.set_input_files(
            "#files", [a_file("one.txt"), a_file("bad.bin"), *(a_file(f"{n}.md") for n in range(4))]
        )

        await visit.page.locator(".upload[data-state=failed]").get_by_text(refusal.message).wait_for()
        await expect(visit.page.locator(".upload[data-state=ready]")).to_have_count(5)
        await visit.shoot("uploads")
        gateway.backends.ingestor.refuse_names = {}
        await visit.page.get_by_role("button", name="Try bad.bin again").click()
        await expect(visit.page.locator(".upload[data-state=ready]")).to_have_count(6)


async def test_a_job_is_cancelled(open_gateway, visiting):
    async with open_gateway() as gateway, visiting(str(gateway.http.base_url)) as visit:
        cancelled = pb.WatchJobResponse(sequence=2, job=job_events("cancelled")[0].job)
        gateway.backends.ingestor.stage.script = [running(1, 1, 900), HOLD, cancelled]
        await visit.page.set_input_files("#files", a_file("a.pdf"))
        await visit.page.get_by_text("Reading page 1 of 900").wait_for()
        await visit.page.get_by_role("button", name="Cancel a.pdf").click()

        await visit.page.get_by_text("Cancelled: nothing of it is kept").wait_for()
        gateway.backends.ingestor.stage.release.set()


async def test_a_failed_job_says_why_and_an_encrypted_one_takes_its_password(open_gateway, visiting):
    async with open_gateway() as gateway, visiting(str(gateway.http.base_url)) as visit:
        stage = gateway.backends.ingestor.stage
        stage.script = [failed(1, "PDF_ENCRYPTED", "The PDF is encrypted; its password is needed.")]
        await visit.page.set_input_files("#files", a_file("a.pdf"))
        await visit.page.get_by_text("its password is needed").wait_for()
        inside = (
            "[...document.querySelectorAll('.upload, .upload *')].every(e => e.getBoundingClientRect().right <= 300)"
        )
        assert await visit.page.evaluate(inside)
        await visit.shoot("upload-failed")

        stage.script = job_events("queued", "running", "ready")
        await visit.page.get_by_label("Password of a.pdf").fill("open sesame")
        await visit.page.keyboard.press("Enter")
        await visit.page.locator(".upload[data-state=ready]").wait_for()
        retried = [one for one in stage.requests if isinstance(one, pb.RetryJobRequest)]
        assert [one.password for one in retried] == ["open sesame"]


async def test_files_are_dropped_anywhere_on_the_page(open_gateway, visiting):
    async with open_gateway() as gateway, visiting(str(gateway.http.base_url)) as visit:
        drop = """() => {
            const data = new DataTransfer();
            data.items.add(new File(["Dropped."], "dropped.txt", { type: "text/plain" }));
            for (const kind of ["dragenter", "dragover", "drop"])
                document.getElementById("ask").dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
        }"""
        await visit.page.evaluate(drop)

        await visit.page.locator(".upload[data-state=ready]").wait_for()
        assert gateway.backends.ingestor.content == b"Dropped."


async def test_documents_are_listed_and_deleted_after_a_question(open_gateway, visiting):
    async with open_gateway() as gateway:
        documents = gateway.backends.retriever.documents
        other = document("doc-2")
        other.title, other.version, other.page_count, other.passage_count, other.size_bytes = (
            "The manual",
            3,
            26,
            80,
            1_234_567,
        )
        documents["doc-2"] = other
        async with visiting(str(gateway.http.base_url)) as visit:
            row = visit.page.locator("[data-id=doc-2]")
            shown = ["The manual", "26 pages · 80 passages · version 3", "1.2 MB"]
            await expect(row.locator("p")).to_have_text(shown)
            await visit.page.get_by_role("button", name="Delete The manual").click()
            await visit.has_focus("confirm-no")
            await visit.shoot("delete")
            await visit.page.keyboard.press("Escape")
            await visit.has_focus("Delete The manual")
            await expect(row).to_have_count(1)

            await visit.page.keyboard.press("Enter")
            await visit.page.get_by_role("button", name="Delete", exact=True).click()
            await visit.said("Deleted The manual.")
            await expect(row).to_have_count(0)
            asked = gateway.backends.retriever.stage.requests[-1]
            assert asked.document_id == "doc-2"


async def test_no_documents_and_a_list_that_cannot_be_read(open_gateway, visiting):
    async with open_gateway() as gateway:
        gateway.backends.retriever.documents = {}
        async with visiting(str(gateway.http.base_url)) as visit:
            await visit.page.route("**/v1/documents?page_size=50", lambda route: route.abort())
            await visit.page.reload()
            await visit.page.get_by_text("The server cannot be reached.").wait_for()
            await visit.shoot("unreachable")
            await visit.page.unroute("**/v1/documents?page_size=50")
            await visit.page.get_by_role("button", name="Try again").click()
            await visit.page.get_by_role("button", name="Show more").wait_for()  # the double has a next page always


async def test_a_watch_that_breaks_goes_on_where_it_was(open_gateway, visiting):
    async with open_gateway() as gateway, visiting(str(gateway.http.base_url)) as visit:
        stage = gateway.backends.ingestor.stage
        stage.script = [running(1, 3, 9), Unavailable("The queue is away.", "QUEUE_UNAVAILABLE")]
        await visit.page.set_input_files("#files", a_file("a.pdf"))
        await visit.page.get_by_text("Reading page 3 of 9").wait_for()
        stage.script = [running(1, 3, 9), pb.WatchJobResponse(sequence=2, job=job_events("ready")[0].job)]

        await visit.page.locator(".upload[data-state=ready]").wait_for()
        watches = [one.after_sequence for one in stage.requests if isinstance(one, pb.WatchJobRequest)]
        assert (watches[0], watches[-1]) == (0, 1)
