from __future__ import annotations

from pathlib import Path

import pytest

from rag.v1 import ingestor_pb2 as pb
from rag.v1.retriever_pb2 import Document
from tests.cli.conftest import Run
from tests.cli.gateway import Gateway

HOSTILE = "\x1b]0;title\x07[red]x[/red] \x9b31m\nnext"


@pytest.fixture
def jobs(gateway: Gateway) -> Gateway:
    for number, state in enumerate(("DEAD", "READY", "FAILED", "DEAD", "QUEUED"), 1):
        job = pb.Job(id=f"job-{number}", name=f"{number}.pdf", document_id=f"doc-{number}")
        job.state = pb.JobState.Value(f"JOB_STATE_{state}")
        if state in {"DEAD", "FAILED"}:
            job.error.CopyFrom(pb.JobError(reason="JOB_TIMEOUT", message="It took too long."))
        gateway.add(job)
    return gateway


async def test_jobs_are_listed_newest_first_and_by_state(ragmesh: Run, jobs: Gateway) -> None:
    done = await ragmesh("jobs")
    assert [line.split()[0] for line in done.lines] == ["job", "job-5", "job-4", "job-3", "job-2", "job-1"]
    done = await ragmesh("jobs", "--state", "dead", "--json")
    assert [(row["job_id"], row["reason"]) for row in done.rows] == [("job-4", "JOB_TIMEOUT"), ("job-1", "JOB_TIMEOUT")]
    assert len((await ragmesh("jobs", "--limit", "3", "--json")).rows) == 3
    assert (await ragmesh("jobs", "--state", "cancelled")).err == "There are no such jobs.\n"


async def test_one_job_is_shown(ragmesh: Run, jobs: Gateway) -> None:
    done = await ragmesh("jobs", "show", "job-3")
    assert {"job_id job-3", "state failed", "reason JOB_TIMEOUT"} <= set(done.lines)
    missing = await ragmesh("jobs", "show", "job-9")
    assert (missing.code, missing.err) == (1, "JOB_NOT_FOUND  There is no such job.\n")


async def test_jobs_are_watched_to_their_end(ragmesh: Run, jobs: Gateway, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    [sent] = (await ragmesh("ingest", "a.txt", "--detach", "--json")).rows
    done = await ragmesh("jobs", "watch", sent["job_id"])
    assert done.code == 0
    assert done.lines[0].startswith("ready a.txt 3 pages, 6 passages")
    assert (await ragmesh("jobs", "watch", "job-1")).code == 1


async def test_a_job_is_cancelled_and_a_finished_one_is_not(ragmesh: Run, jobs: Gateway) -> None:
    done = await ragmesh("cancel", "job-5", "job-2")
    assert done.code == 1
    assert done.lines[1].startswith("job-5 cancelled")
    assert done.err == "JOB_FINISHED  job-2: The job is finished.\n"


async def test_jobs_are_retried_by_id_with_a_password_or_all_the_dead(ragmesh: Run, jobs: Gateway) -> None:
    assert (await ragmesh("retry", "job-3", "--password", "secret")).code == 0
    assert jobs.passwords == ["secret"]
    done = await ragmesh("retry", "--dead", "--json")
    assert [(row["job_id"], row["state"]) for row in done.rows] == [("job-4", "queued"), ("job-1", "queued")], done.err
    assert (await ragmesh("retry", "--dead")).err == "No job is dead.\n"
    assert (await ragmesh("retry")).code == 2
    assert (await ragmesh("retry", "job-3", "--dead")).code == 2


async def test_documents_are_listed_and_deleted(ragmesh: Run, gateway: Gateway, tmp_path: Path) -> None:
    assert (await ragmesh("docs")).err == "There are no documents.\n"
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text(name)
    await ragmesh("ingest", ".", "--metadata", "team=ops")
    rows = (await ragmesh("docs", "--json")).rows
    assert sorted(row["name"] for row in rows) == ["a.txt", "b.txt", "c.txt"]
    assert rows[0]["metadata"] == {"team": "ops"}
    assert len((await ragmesh("docs")).lines) == 4
    first, second, _ = (row["document_id"] for row in rows)
    done = await ragmesh("delete", first, "none", second)
    assert done.code == 1
    assert done.lines == [f"deleted {first}", f"deleted {second}"]
    assert done.err == "DOCUMENT_NOT_FOUND  none: There is no such document.\n"


async def test_rows_are_whole_in_a_pipe(ragmesh: Run, gateway: Gateway) -> None:
    gateway.add(pb.Job(id="job-1", name="long" * 100, state=pb.JOB_STATE_READY))
    gateway.documents["d"] = Document(id="d" * 64, name="long" * 100)
    assert "long" * 100 in (await ragmesh("jobs")).out
    assert "long" * 100 in (await ragmesh("docs")).out


async def test_ids_are_whole_however_narrow_the_terminal(in_terminal: Run, gateway: Gateway) -> None:
    gateway.add(pb.Job(id="job-" + "0123456789" * 3, name="long " * 100, state=pb.JOB_STATE_READY))
    done = await in_terminal("jobs")
    assert "job-" + "0123456789" * 3 in done.err
    assert all(len(line.rstrip()) <= 100 for line in done.err.splitlines())


@pytest.mark.parametrize(
    "words", [["jobs"], ["jobs", "show", "job-1"], ["docs"], ["jobs", "--json"], ["docs", "--json"]]
)
async def test_what_the_server_says_is_shown_and_not_obeyed(
    ragmesh: Run, in_terminal: Run, gateway: Gateway, words: list[str]
) -> None:
    job = pb.Job(id="job-1", name=HOSTILE, document_id="d", state=pb.JOB_STATE_FAILED)
    job.error.CopyFrom(pb.JobError(reason=HOSTILE, message=HOSTILE))
    gateway.add(job)
    gateway.documents["d"] = Document(id="d", name=HOSTILE, title=HOSTILE)
    for run in (ragmesh, in_terminal):
        done = await run(*words)
        assert done.code == 0
        assert "[red]x[/red]" in done.out
        assert "\x1b]0;" not in done.out
        assert "\x9b" not in done.out
        assert not [line for line in done.out.splitlines() if line.startswith("next")]
