from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rag.client import RagClient
from rag.runtime.errors import FailedPrecondition, InvalidInput, NotFound, Overloaded, Unavailable
from rag.v1 import ingestor_pb2 as pb
from tests.cli.gateway import Gateway, running_gateway

AWAY = Unavailable("The queue is away.", "QUEUE_UNAVAILABLE")


async def at_once(_seconds: float) -> None:
    """A pause that takes no time."""


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with running_gateway() as running:
        yield running


@pytest.fixture
async def rag(gateway: Gateway) -> AsyncIterator[RagClient]:
    async with RagClient(gateway.address, pause=at_once) as client:
        yield client


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.md"
    path.write_text("# A\n" * 100_000)
    return path


async def test_an_upload_carries_all_that_is_said_about_it(gateway: Gateway, rag: RagClient, file: Path) -> None:
    job = await rag.ingest(
        file, document_id="d", title="T", metadata={"year": 2026}, request_id="mine", password="secret"
    )
    [header] = gateway.headers
    assert (header.document_id, header.title, header.request_id, header.password) == ("d", "T", "mine", "secret")
    assert (header.name, header.metadata["year"].number) == ("a.md", 2026)
    assert gateway.contents == [file.read_bytes()]
    assert job.state == pb.JOB_STATE_QUEUED


async def test_an_upload_is_repeated_while_the_server_is_away(gateway: Gateway, rag: RagClient, file: Path) -> None:
    gateway.refusals = [AWAY, Overloaded("Too much.", "TOO_MANY_CALLS", 0.01), AWAY]
    await rag.ingest(file)
    assert gateway.contents == [file.read_bytes()]


async def test_an_upload_is_given_up_in_the_end(gateway: Gateway, rag: RagClient, file: Path) -> None:
    gateway.refusals = [AWAY] * 100
    with pytest.raises(Unavailable, match="queue is away"):
        await rag.ingest(file)
    assert 90 < len(gateway.refusals) < 100


async def test_what_is_wrong_with_the_upload_itself_is_not_repeated(
    gateway: Gateway, rag: RagClient, file: Path
) -> None:
    gateway.refusals = [InvalidInput("It is a JPEG.", "UNSUPPORTED_TYPE")] * 2
    with pytest.raises(InvalidInput):
        await rag.ingest(file)
    assert len(gateway.refusals) == 1


async def test_a_lost_answer_makes_no_second_job(gateway: Gateway, rag: RagClient, file: Path) -> None:
    gateway.lose_answers = 2
    job = await rag.ingest(file)
    assert list(gateway.jobs) == [job.id]
    assert len({header.request_id for header in gateway.headers}) == 1
    again = await rag.ingest(file)
    assert again.id != job.id


async def test_a_file_that_cannot_be_read_is_said_so(rag: RagClient, tmp_path: Path, gateway: Gateway) -> None:
    with pytest.raises(FileNotFoundError):
        await rag.ingest(tmp_path / "none.txt")
    assert not gateway.jobs


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file whose reading fails")
async def test_a_file_that_fails_half_way_leaves_no_job(rag: RagClient, gateway: Gateway) -> None:
    with pytest.raises(OSError, match="Input/output error"):
        await rag.ingest(Path("/proc/self/mem"))
    assert not gateway.jobs


async def test_a_name_that_is_no_text_is_sent_as_text(rag: RagClient, tmp_path: Path, gateway: Gateway) -> None:
    path = tmp_path / "caf\udce9.txt"
    path.write_text("x")
    await rag.ingest(path)
    assert gateway.headers[0].name == "caf?.txt"


async def test_a_text_and_a_url_are_ingested_too(rag: RagClient, gateway: Gateway) -> None:
    await rag.ingest_text("Grüße", "note.md", document_id="note", metadata={"team": "ops"})
    await rag.ingest_url("https://example.org/a.html", title="A")
    assert gateway.contents[0] == "Grüße".encode()
    assert [header.name for header in gateway.headers] == ["note.md", "a.html"]
    assert gateway.urls == ["https://example.org/a.html"]
    assert all(header.request_id for header in gateway.headers)


async def test_a_watch_that_breaks_off_goes_on_after_its_last_event(rag: RagClient, gateway: Gateway) -> None:
    job = await rag.ingest_text("x", "x.txt")
    gateway.break_watches = 3
    seen = [event.sequence async for event in rag.watch(job.id)]
    assert seen == list(range(1, len(gateway.events[job.id]) + 1))
    assert [event.sequence async for event in rag.watch(job.id, 3)] == seen[3:]


async def test_a_watch_gives_up_when_nothing_comes_any_more(rag: RagClient, gateway: Gateway) -> None:
    gateway.jobs["away"] = pb.Job(id="away")
    gateway.events["away"] = []
    gateway.unwatchable = True
    with pytest.raises(Unavailable):
        [event async for event in rag.watch("away")]


async def test_jobs_are_listed_over_all_pages_and_by_state(rag: RagClient, gateway: Gateway) -> None:
    ids = [(await rag.ingest_text(str(n), f"{n}.txt")).id for n in range(5)]
    gateway.jobs[ids[1]].state = gateway.jobs[ids[3]].state = pb.JOB_STATE_DEAD
    assert [job.id async for job in rag.jobs()] == ids[::-1]
    assert [job.id async for job in rag.jobs(pb.JOB_STATE_DEAD)] == [ids[3], ids[1]]
    assert (await rag.job(ids[0])).name == "0.txt"


async def test_a_job_is_cancelled_and_retried(rag: RagClient, gateway: Gateway) -> None:
    job = await rag.ingest_text("x", "x.txt")
    with pytest.raises(FailedPrecondition):
        await rag.retry(job.id)
    gateway.jobs[job.id].state = pb.JOB_STATE_FAILED
    assert (await rag.retry(job.id, "secret")).state == pb.JOB_STATE_QUEUED
    assert gateway.passwords == ["secret"]
    assert (await rag.cancel(job.id)).state == pb.JOB_STATE_CANCELLED


async def test_documents_and_passages_are_read_and_deleted(rag: RagClient, gateway: Gateway) -> None:
    for n in range(3):
        job = await rag.ingest_text(str(n), f"{n}.txt", document_id=f"d{n}")
        [event async for event in rag.watch(job.id)]
    assert sorted([document.id async for document in rag.documents()]) == ["d0", "d1", "d2"]
    assert (await rag.document("d1")).name == "1.txt"
    assert [passage.id async for passage in rag.passages("d1")] == [f"p-{n}" for n in range(5)]
    await rag.delete("d1")
    with pytest.raises(NotFound):
        await rag.document("d1")
