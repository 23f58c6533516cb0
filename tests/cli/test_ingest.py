from __future__ import annotations

import asyncio
import os
import re
import signal
from pathlib import Path

import pytest

from rag.cli.views import note_of, share_of
from rag.runtime.errors import Unavailable
from rag.v1 import ingestor_pb2 as pb
from tests.cli.conftest import Run, start
from tests.cli.gateway import Gateway
from tests.waiting import until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.md", "b.txt", "deep/c.md", ".hidden/d.md", "deep/.e.md"):
        path = tmp_path / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "docs"


async def test_files_folders_and_globs_are_sent_once_and_hidden_ones_not(
    ragmesh: Run, gateway: Gateway, folder: Path
) -> None:
    done = await ragmesh("ingest", "docs/a.md", "docs", "docs/**/*.md")
    assert done.code == 0, done.err
    assert sorted(header.name for header in gateway.headers) == ["a.md", "b.txt", "c.md"]
    *files, summary = done.lines
    assert sorted(line.rsplit(",", 1)[0] for line in files) == [
        "ready docs/a.md 3 pages, 6 passages",
        "ready docs/b.txt 3 pages, 6 passages",
        "ready docs/deep/c.md 3 pages, 6 passages",
    ]
    assert summary.startswith("3 files in ")
    assert summary.endswith("3 ready; 18 passages")
    assert "\x1b" not in done.out
    assert not done.err


async def test_failures_are_named_by_reason_and_do_not_stop_the_rest(
    ragmesh: Run, gateway: Gateway, folder: Path
) -> None:
    gateway.fails = lambda name: "PDF_ENCRYPTED" if name.endswith(".md") else ""
    (folder / "empty.txt").touch()
    (folder / "gone").symlink_to("nowhere")
    done = await ragmesh("ingest", "docs")
    assert done.code == 1
    text = "\n".join(done.lines)
    assert "PDF_ENCRYPTED It cannot be indexed.\ndocs/a.md\ndocs/deep/c.md" in text
    assert "EMPTY_FILE The file is empty.\ndocs/empty.txt" in text
    assert "UNREADABLE The file cannot be read: No such file or directory.\ndocs/gone" in text
    assert "4 failed, 1 ready" in done.lines[-1]


async def test_json_is_one_line_for_each_file_and_nothing_else(ragmesh: Run, gateway: Gateway, folder: Path) -> None:
    gateway.fails = lambda name: "NO_TEXT" if name == "a.md" else ""
    done = await ragmesh("ingest", "docs", "--json")
    rows = {row["file"]: row for row in done.rows}
    assert {file: row["state"] for file, row in rows.items()} == {
        "docs/a.md": "failed",
        "docs/b.txt": "ready",
        "docs/deep/c.md": "ready",
    }
    assert (rows["docs/a.md"]["reason"], rows["docs/b.txt"]["passages"]) == ("NO_TEXT", 6)
    assert rows["docs/b.txt"]["job_id"] in gateway.jobs


async def test_unchanged_documents_are_told_from_new_ones(ragmesh: Run, folder: Path) -> None:
    await ragmesh("ingest", "docs/a.md")
    done = await ragmesh("ingest", "docs/a.md", "docs/b.txt")
    assert done.lines[-1].split(":")[1].split(";")[0] in {" 1 unchanged, 1 ready", " 1 ready, 1 unchanged"}


async def test_title_id_metadata_and_password_go_with_a_file(ragmesh: Run, gateway: Gateway, folder: Path) -> None:
    words = ["--title", "A title", "--document-id", "doc_a", "--password", "secret"]
    pairs = ["team=ops", "year=2026", "public=true", 'version="1.10"', "ratio=NaN"]
    done = await ragmesh("ingest", "docs/a.md", *words, *(word for pair in pairs for word in ("--metadata", pair)))
    assert done.code == 0, done.err
    [header] = gateway.headers
    assert (header.title, header.document_id, header.password) == ("A title", "doc_a", "secret")
    values = {key: getattr(value, value.WhichOneof("value")) for key, value in header.metadata.items()}
    assert values == {"team": "ops", "year": 2026.0, "public": True, "version": "1.10", "ratio": "NaN"}


async def test_a_url_is_fetched_by_the_server(ragmesh: Run, gateway: Gateway) -> None:
    done = await ragmesh("ingest", "https://example.org/a.html")
    assert done.code == 0
    assert gateway.urls == ["https://example.org/a.html"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["none.md"], "There is no file or folder none.md."),
        (["docs/*.pdf"], "Nothing matches docs/*.pdf."),
        (["docs", "--title", "T"], "--title and --document-id are for one file"),
        (["docs/a.md", "--metadata", "team"], "team is not KEY=VALUE."),
        (["docs/a.md", "--metadata", "1st=x"], "A metadata key is a letter"),
        (["docs/.hidden/x", "docs"], "There is no file or folder docs/.hidden/x."),
    ],
)
async def test_wrong_words_are_refused_before_anything_is_sent(
    ragmesh: Run, gateway: Gateway, folder: Path, words: list[str], told: str
) -> None:
    done = await ragmesh("ingest", *words)
    assert done.code == 2
    assert " ".join(told.split()) in " ".join(done.err.replace("│", " ").split())
    assert not gateway.headers


async def test_no_more_are_under_way_than_asked_for(ragmesh: Run, gateway: Gateway, tmp_path: Path) -> None:
    for n in range(9):
        (tmp_path / f"{n}.txt").write_text(str(n))
    await ragmesh("ingest", "*.txt", "--parallel", "3")
    assert len(gateway.headers) == 9
    assert 1 < gateway.most_under_way <= 3


async def test_detached_files_are_sent_and_not_waited_for(ragmesh: Run, gateway: Gateway, folder: Path) -> None:
    gateway.hold = lambda _name: True
    done = await ragmesh("ingest", "docs", "--detach")
    assert done.code == 0
    assert "3 accepted" in done.lines[-1]
    assert {job.state for job in gateway.jobs.values()} == {pb.JOB_STATE_QUEUED}


async def test_the_rest_is_not_sent_when_the_server_is_away_for_good(
    ragmesh: Run, gateway: Gateway, tmp_path: Path
) -> None:
    for n in range(5):
        (tmp_path / f"{n}.txt").write_text(str(n))
    gateway.refusals = [Unavailable("The queue is away.", "QUEUE_UNAVAILABLE")] * 6
    done = await ragmesh("ingest", "*.txt", "--parallel", "1")
    assert done.code == 1
    assert "1 failed" in done.lines[-1]
    assert "4 not sent" in done.lines[-1]
    assert not gateway.jobs


async def test_nobody_at_the_address_is_said_so(ragmesh: Run, folder: Path) -> None:
    done = await ragmesh("jobs", "--address", "127.0.0.1:1")
    assert done.code == 3
    assert "GATEWAY_UNAVAILABLE The gateway cannot be reached." in " ".join(done.err.split())
    assert "ragmesh up" in done.err
    assert "Traceback" not in done.err


async def test_ctrl_c_says_what_goes_on_and_where_to_look(gateway: Gateway, folder: Path) -> None:
    gateway.hold = lambda _name: True
    process = await start(gateway, "ingest", "docs", "--parallel", "2", cwd=folder.parent)
    await until(lambda: gateway.under_way == 2)
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(30):
        _, err = await process.communicate()
    assert process.returncode == 130
    assert "going on without you: 2 accepted uploads. Not sent: 1 file." in " ".join(err.decode().split())
    assert "`ragmesh jobs`" in err.decode()
    gateway.let_go.set()


async def test_a_terminal_shows_bars_of_what_is_under_way(in_terminal: Run, gateway: Gateway, tmp_path: Path) -> None:
    names = [f"{n}-{'long' * 20}.txt" for n in range(6)]
    for name in names:
        (tmp_path / name).write_text(name)
    gateway.fails = lambda name: "NO_TEXT" if name == names[0] else ""
    done = await in_terminal("ingest", "*.txt", "--parallel", "2")
    assert done.code == 1
    assert "\x1b[" in done.out
    assert "6/6, 36 passages, 1 failed" in done.err
    frames = re.split(r"all +\u2501", done.err)
    assert 1 < max(len(re.findall("[\u2501\u2578\u257a]{4,}", frame)) for frame in frames) <= 3
    assert " ".join(done.err.splitlines()[-1].split()).endswith("5 ready, 1 failed; 36 passages")


async def test_names_of_files_are_shown_and_not_obeyed(ragmesh: Run, in_terminal: Run, tmp_path: Path) -> None:
    name = "x\x1b]0;title\x07[red]\nready  fake\udce9.txt"
    Path(os.fsdecode(os.fsencode(str(tmp_path)) + b"/" + os.fsencode(name))).write_text("x")
    for run in (ragmesh, in_terminal):
        done = await run("ingest", ".")
        assert done.code == 0, done.out + done.err
        assert "\x1b]0;" not in done.out
        assert "[red]" in done.out
        assert not [line for line in done.out.splitlines() if line.startswith("ready  fake")]


def test_a_job_under_way_tells_pages_passages_time_left_and_waits() -> None:
    job = pb.Job(state=pb.JOB_STATE_RUNNING, attempts=2)
    done = {"pages_done": 3, "pages_total": 12, "passages": 6, "passages_indexed": 5, "seconds_left": 200.0}
    job.progress.MergeFrom(pb.JobProgress(**done, rate_limit_waits=2, rate_limit_wait_s=4.2))
    waits = "waited 2 times for the model's rate limit (4 s)"
    assert note_of(job) == f"3/12 pages, 5 passages, 3 min left, {waits}, attempt 2"
    assert share_of(job.progress) == pytest.approx(5 / 24)
    assert note_of(pb.Job(state=pb.JOB_STATE_QUEUED)) == "waiting, 0 passages"
