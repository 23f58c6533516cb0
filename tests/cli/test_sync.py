from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from rag.runtime.errors import Unavailable
from rag.v1 import ingestor_pb2 as pb
from tests.cli.conftest import Run, start
from tests.cli.gateway import Gateway
from tests.waiting import until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "docs"
    (place / "deep").mkdir(parents=True)
    for name in ("a.md", "b.md", "deep/c.md", ".hidden.md"):
        (place / name).write_text(f"text of {name}")
    return place


def live(gateway: Gateway) -> dict[str, bytes]:
    """The paths on the server with the contents of their live versions."""
    by_hash = {hashlib.sha256(content).hexdigest(): content for content in gateway.contents}
    return {
        document.metadata["sync_path"].text: by_hash[document.content_hash]
        for key, document in gateway.documents.items()
        if "/" not in key and "sync_path" in document.metadata
    }


async def test_the_server_follows_the_folder(ragmesh: Run, gateway: Gateway, folder: Path) -> None:
    first = await ragmesh("sync", "docs", "--name", "handbook")
    assert first.code == 0, first.err
    assert first.lines[-1].endswith("3 ready; 18 passages")
    assert live(gateway) == {name: f"text of {name}".encode() for name in ("a.md", "b.md", "deep/c.md")}
    assert {document.metadata["sync_label"].text for document in gateway.documents.values()} == {"handbook"}

    (folder / "a.md").write_text("text of a.MD")  # of the same size
    (folder / "b.md").unlink()
    (folder / "deep" / "new.md").write_text("new")
    second = await ragmesh("sync", "docs", "--name", "handbook")
    assert second.code == 0, second.err
    assert live(gateway) == {"a.md": b"text of a.MD", "deep/c.md": b"text of deep/c.md", "deep/new.md": b"new"}
    assert sorted(line.split(" 3 pages")[0] for line in second.lines[:-1]) == [
        "changed a.md",
        "new deep/new.md",
        "removed b.md",
    ]
    assert second.lines[-1].endswith("2 ready, 1 removed, 1 unchanged; 12 passages")
    assert len(gateway.headers) == 5


async def test_nothing_is_sent_and_nothing_said_when_nothing_changed(
    ragmesh: Run, in_terminal: Run, gateway: Gateway, folder: Path
) -> None:
    await ragmesh("sync", "docs")
    quiet = await ragmesh("sync", "docs")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
    told = await ragmesh("sync", "docs", "--verbose")
    assert told.lines[:-1] == ["unchanged a.md", "unchanged b.md", "unchanged deep/c.md"]
    seen = await in_terminal("sync", "docs")
    assert "nothing to do: 3 unchanged" in seen.err
    assert len(gateway.headers) == 3


async def test_a_dry_run_changes_nothing(ragmesh: Run, gateway: Gateway, folder: Path) -> None:
    await ragmesh("sync", "docs")
    (folder / "a.md").write_text("changed")
    (folder / "b.md").unlink()
    (folder / "n.md").write_text("new")
    done = await ragmesh("sync", "docs", "--dry-run")
    assert done.lines == [
        "new n.md",
        "changed a.md",
        "removed b.md",
        "would be: 1 new, 1 changed, 1 removed, 1 unchanged",
    ]
    rows = (await ragmesh("sync", "docs", "--dry-run", "--json")).rows
    assert rows[0] == {"file": "n.md", "action": "new"}
    assert len(gateway.headers) == 3
    assert not gateway.deleted


async def test_two_labels_do_not_touch_each_other(ragmesh: Run, gateway: Gateway, folder: Path) -> None:
    await ragmesh("sync", "docs", "--name", "one")
    await ragmesh("sync", "docs/deep", "--name", "two")
    (folder / "deep" / "c.md").unlink()
    await ragmesh("sync", "docs", "--name", "one")
    assert sorted(live(gateway)) == ["a.md", "b.md", "c.md"]


@pytest.mark.parametrize("missing", [False, True])
async def test_an_empty_or_missing_folder_deletes_nothing_unless_it_may(
    ragmesh: Run, gateway: Gateway, folder: Path, missing: bool
) -> None:
    await ragmesh("sync", "docs")
    for path in (folder / "a.md", folder / "b.md", folder / "deep" / "c.md", folder / ".hidden.md"):
        path.unlink()
    if missing:
        (folder / "deep").rmdir()
        folder.rmdir()
    refused = await ragmesh("sync", "docs")
    assert refused.code != 0
    assert "--allow-empty" in refused.err
    assert len(live(gateway)) == 3
    assert (await ragmesh("sync", "docs", "--allow-empty")).code == 0
    assert not live(gateway)


async def test_many_deletes_need_a_yes_and_the_rest_goes_on(ragmesh: Run, gateway: Gateway, folder: Path) -> None:
    await ragmesh("sync", "docs")
    (folder / "a.md").unlink()
    (folder / "b.md").unlink()
    (folder / "n.md").write_text("new")
    refused = await ragmesh("sync", "docs", "--max-deletes", "1")
    assert refused.code == 1
    assert "2 files are gone, more than --max-deletes 1: nothing was deleted" in refused.err
    assert sorted(live(gateway)) == ["a.md", "b.md", "deep/c.md", "n.md"]
    assert (await ragmesh("sync", "docs", "--max-deletes", "1", "--yes")).code == 0
    assert sorted(live(gateway)) == ["deep/c.md", "n.md"]


async def test_a_file_that_fails_keeps_its_old_version_and_is_tried_again(
    ragmesh: Run, gateway: Gateway, folder: Path
) -> None:
    await ragmesh("sync", "docs")
    (folder / "a.md").write_text("broken")
    (folder / "n.md").write_text("new")
    gateway.fails = lambda name: "NO_TEXT" if name == "a.md" else ""
    done = await ragmesh("sync", "docs")
    assert done.code == 1
    assert "NO_TEXT It cannot be indexed." in done.lines
    assert live(gateway)["a.md"] == b"text of a.md"
    assert live(gateway)["n.md"] == b"new"
    gateway.fails = lambda _name: ""
    assert (await ragmesh("sync", "docs")).code == 0
    assert live(gateway)["a.md"] == b"broken"


async def test_what_cannot_be_read_is_told_and_kept(ragmesh: Run, gateway: Gateway, folder: Path) -> None:
    await ragmesh("sync", "docs")
    (folder / "a.md").unlink()
    (folder / "a.md").symlink_to("nowhere")  # what it links to may come back
    (folder / "b.md").write_text("")  # as while it is written
    (folder / "deep" / "out.md").symlink_to(folder.parent)
    done = await ragmesh("sync", "docs", "--verbose")
    assert done.code == 1
    assert "failed a.md UNREADABLE: It cannot be listed, or is a link to nothing." in done.lines
    assert "left out b.md" in done.lines
    assert "left out deep/out.md" in done.lines
    assert sorted(live(gateway)) == ["a.md", "b.md", "deep/c.md"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
async def test_a_folder_that_cannot_be_listed_keeps_its_documents(ragmesh: Run, gateway: Gateway, folder: Path) -> None:
    await ragmesh("sync", "docs")
    (folder / "deep").chmod(0)
    try:
        done = await ragmesh("sync", "docs")
    finally:
        (folder / "deep").chmod(0o755)
    assert done.code == 1
    assert sorted(live(gateway)) == ["a.md", "b.md", "deep/c.md"]


async def test_links_out_of_the_folder_are_not_followed(ragmesh: Run, gateway: Gateway, folder: Path) -> None:
    (folder.parent / "secret.txt").write_text("secret")
    (folder.parent / "other").mkdir()
    (folder.parent / "other" / "secret.md").write_text("secret")
    (folder / "s.txt").symlink_to(folder.parent / "secret.txt")
    (folder / "o").symlink_to(folder.parent / "other")
    (folder / "loop").symlink_to(folder)
    (folder / "again.md").symlink_to("a.md")
    await ragmesh("sync", "docs")
    assert sorted(live(gateway)) == ["a.md", "again.md", "b.md", "deep/c.md"]
    assert b"secret" not in gateway.contents


async def test_a_sync_after_one_that_was_broken_off_waits_for_its_uploads(
    ragmesh: Run, gateway: Gateway, folder: Path
) -> None:
    gateway.hold = lambda _name: True
    broken = await start(gateway, "sync", "docs", "--name", "x", cwd=folder.parent)
    await until(lambda: gateway.under_way == 3)
    broken.terminate()
    await broken.communicate()
    (folder / "a.md").write_text("another")
    (folder / "b.md").unlink()
    again = asyncio.create_task(ragmesh("sync", "docs", "--name", "x"))
    gateway.hold = lambda _name: False
    gateway.let_go.set()
    done = await again
    assert done.code == 0, done.out + done.err
    assert live(gateway) == {"a.md": b"another", "deep/c.md": b"text of deep/c.md"}
    assert [header.metadata["sync_path"].text for header in gateway.headers].count("deep/c.md") == 1


async def test_what_is_left_of_a_removed_file_as_a_failed_job_goes_too(
    ragmesh: Run, gateway: Gateway, folder: Path
) -> None:
    gateway.fails = lambda name: "NO_TEXT" if name == "a.md" else ""
    await ragmesh("sync", "docs")
    (folder / "a.md").unlink()
    done = await ragmesh("sync", "docs")
    assert done.code == 0, done.out
    assert "removed a.md" in done.lines
    assert pb.JOB_STATE_FAILED not in {job.state for job in gateway.jobs.values()}
    assert (await ragmesh("sync", "docs")).out == ""


async def test_a_server_that_is_away_deletes_nothing_and_is_said_so(
    ragmesh: Run, gateway: Gateway, folder: Path
) -> None:
    done = await ragmesh("sync", "docs", "--address", "127.0.0.1:1")
    assert done.code == 3
    assert "cannot be reached" in done.err


async def test_new_files_that_could_not_be_sent_come_with_the_next_run(
    ragmesh: Run, gateway: Gateway, folder: Path
) -> None:
    gateway.refusals = [Unavailable("The queue is away.", "QUEUE_UNAVAILABLE")] * 6
    done = await ragmesh("sync", "docs", "--parallel", "1")
    assert done.code == 1
    assert "2 not sent" in done.lines[-1]
    assert (await ragmesh("sync", "docs")).code == 0
    assert len(live(gateway)) == 3
