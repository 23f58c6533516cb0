"""Backups are checked before anything is touched, and brought back without deleting anything."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis as sync_redis

from rag.backup import UNFINISHED
from rag.backup.files import entry_of
from rag.backup.manifest import CATALOGUE, INDEX, NAME, Manifest, digest_of
from rag.backup.pause import KEY, is_paused, paused
from rag.backup.restoring import restore, verify
from rag.backup.taking import take
from rag.runtime.errors import AlreadyExists, Conflict, FailedPrecondition, InvalidInput, Unavailable
from rag.runtime.redis import open_redis
from rag.runtime.settings import child_environment
from tests.redis_server import running_redis

UPLOAD = "blobs/acme/job_1"
CACHES = [
    f"rag:acme:{name}" for name in ("retrieval:a", "answer:a", "answers_of:doc", "answers_forgotten:doc", "questions:a")
]


def quiet(_step: str, _done: int, _total: int) -> None:
    return


@pytest.fixture
def short() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rag") as folder:
        yield Path(folder)


class FileIndex:
    """A retriever whose index is a table; it copies it into the data folder like the real one."""

    def __init__(self, data: Path) -> None:
        self.data = data

    async def snapshot(self, name: str) -> tuple[str, str]:
        path = self.data / "snapshots" / name
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        make_database(path)
        return f"snapshots/{name}", entry_of(path.parent, name, lambda _size: None).sha256


def make_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE rows (id TEXT PRIMARY KEY, body BLOB)")
        database.executemany(
            "INSERT INTO rows VALUES (?, ?)", [(f"acme/doc/1/{n}", os.urandom(400)) for n in range(200)]
        )
        database.commit()


@pytest.fixture
def backup(short: Path) -> Path:
    """A backup of a data folder with a document, a waiting job, its upload and a draft."""
    data = short / "data"
    (data / "blobs" / "acme").mkdir(parents=True)
    (data / UPLOAD).write_bytes(os.urandom(5_000))
    (data / "blobs" / ".drafts").mkdir()
    (data / "blobs" / ".drafts" / "tmp123").write_bytes(b"half")
    with running_redis(data / "redis") as url:
        with sync_redis.Redis.from_url(url) as client:
            client.zadd("rag:acme:documents", {"doc": 1})
            client.hset("rag:acme:document:doc", mapping={"version": 3, "passage_count": 200})
            client.mset(dict.fromkeys(CACHES, "old"))
            client.set("rag:acme:versions:answer:deleted", "1")  # of a document that has such a name
        asyncio.run(backed_up(short / "backup", data, url))
        assert not (data / "redis" / "dump.rdb").exists()
    return short / "backup"


async def backed_up(target: Path, data: Path, url: str) -> Manifest:
    async with open_redis(url, 60) as client:
        manifest = await take(target, data, client, FileIndex(data), quiet)
        assert not await is_paused(client)
        return manifest


def rewritten(change: Callable[[dict], None], *, sealed: bool) -> Callable[[Path], None]:
    """Damage the manifest; `sealed` makes its own digest fit again."""

    def damage(backup: Path) -> None:
        fields = json.loads((backup / NAME).read_text())
        change(fields)
        if sealed:
            fields["digest"] = digest_of(fields)
        (backup / NAME).write_text(json.dumps(fields))

    return damage


def flipped(path: str) -> Callable[[Path], None]:
    def damage(backup: Path) -> None:
        data = bytearray((backup / path).read_bytes())
        data[len(data) // 2] ^= 1
        (backup / path).unlink()
        (backup / path).write_bytes(data)

    return damage


def cut(path: str) -> Callable[[Path], None]:
    return lambda backup: os.truncate(backup / path, (backup / path).stat().st_size - 1)


def aimed(path: str) -> Callable[[Path], None]:
    """A manifest that names a file elsewhere, and is right about it."""

    def change(fields: dict) -> None:
        fields["files"].append({**fields["files"][0], "path": path})

    return rewritten(change, sealed=True)


def linked(backup: Path) -> None:
    content = (backup / UPLOAD).read_bytes()
    (backup / UPLOAD).unlink()
    outside = backup.with_name("outside")
    outside.write_bytes(content)
    (backup / UPLOAD).symlink_to(outside)


DAMAGES = {
    "a bit of the index": (flipped(INDEX), "BACKUP_DAMAGED", INDEX),
    "a bit of the state of Redis": (flipped(CATALOGUE), "BACKUP_DAMAGED", CATALOGUE),
    "a bit of an upload": (flipped(UPLOAD), "BACKUP_DAMAGED", UPLOAD),
    "the index cut": (cut(INDEX), "BACKUP_DAMAGED", INDEX),
    "the state of Redis cut": (cut(CATALOGUE), "BACKUP_DAMAGED", CATALOGUE),
    "an upload cut": (cut(UPLOAD), "BACKUP_DAMAGED", UPLOAD),
    "the manifest cut": (cut(NAME), "BACKUP_DAMAGED", NAME),
    "the index missing": (lambda backup: (backup / INDEX).unlink(), "BACKUP_DAMAGED", INDEX),
    "the state of Redis missing": (lambda backup: (backup / CATALOGUE).unlink(), "BACKUP_DAMAGED", CATALOGUE),
    "an upload missing": (lambda backup: (backup / UPLOAD).unlink(), "BACKUP_DAMAGED", UPLOAD),
    "the manifest missing": (lambda backup: (backup / NAME).unlink(), "NO_BACKUP", NAME),
    "a file too many": (lambda backup: (backup / "blobs/acme/job_2").write_bytes(b"x"), "BACKUP_DAMAGED", "job_2"),
    "a link in place of a file": (linked, "BACKUP_DAMAGED", UPLOAD),
    "another count": (rewritten(lambda f: f["documents"].update(acme=9), sealed=False), "BACKUP_DAMAGED", NAME),
    "another hash": (rewritten(lambda f: f["files"][0].update(sha256="0" * 64), sealed=False), "BACKUP_DAMAGED", NAME),
    "another hash, sealed": (rewritten(lambda f: f["files"][0].update(sha256="0" * 64), sealed=True), "BACKUP_DAMAGED", "SHA-256"),
    "a file left out, sealed": (rewritten(lambda f: f["files"].pop(0), sealed=True), "BACKUP_DAMAGED", "does not belong"),
    "a later format": (rewritten(lambda f: f.update(format=2), sealed=False), "BACKUP_FORMAT", "2"),
    "no files": (rewritten(lambda f: f.pop("files"), sealed=False), "BACKUP_DAMAGED", NAME),
    "a path out of it": (aimed("../outside"), "BACKUP_DAMAGED", "../outside"),
    "a path behind an upload": (aimed("blobs/acme/../../../etc"), "BACKUP_DAMAGED", ".."),
    "an absolute path": (aimed("/etc/passwd"), "BACKUP_DAMAGED", "/etc/passwd"),
    "a path of nothing": (aimed("redis/appendonly.aof"), "BACKUP_DAMAGED", "appendonly"),
    "one file twice": (aimed(UPLOAD), "BACKUP_DAMAGED", "2 times"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_backup_is_refused_before_anything_is_touched(backup: Path, name: str) -> None:
    damage, reason, about = DAMAGES[name]
    damage(backup)
    target = backup.with_name("target")
    with pytest.raises(FailedPrecondition) as refused:
        asyncio.run(restore(backup, target, quiet))
    assert refused.value.reason == reason
    assert about in refused.value.message
    assert not target.exists()


def test_a_database_that_was_damaged_before_it_was_hashed_is_refused(backup: Path) -> None:
    (backup / INDEX).write_bytes(b"no database" * 100)

    def change(fields: dict) -> None:
        entry = entry_of(backup, INDEX, lambda _size: None)
        fields["files"] = [
            {**each, "size": entry.size, "sha256": entry.sha256} if each["path"] == INDEX else each
            for each in fields["files"]
        ]

    rewritten(change, sealed=True)(backup)
    with pytest.raises(FailedPrecondition, match="no readable database"):
        verify(backup, quiet)


def test_everything_comes_back(backup: Path) -> None:
    target = backup.with_name("target")
    restored = asyncio.run(restore(backup, target, quiet))
    assert restored.documents == {"acme": 1}
    assert restored.aside is None
    assert (target / UPLOAD).read_bytes() == (backup / UPLOAD).read_bytes()
    assert (target / "milvus" / "ragmesh.db").read_bytes() == (backup / INDEX).read_bytes()
    assert sorted(path.name for path in target.iterdir()) == ["blobs", "milvus", "redis"]
    assert not list((target / "redis").glob("*.rdb"))
    with running_redis(target / "redis") as url, sync_redis.Redis.from_url(url, decode_responses=True) as client:
        assert client.hgetall("rag:acme:document:doc") == {"version": "3", "passage_count": "200"}
        assert int(client.get("rag:version_floor")) > 1_000_000
        assert not client.exists(*CACHES, KEY)
        assert client.exists("rag:acme:versions:answer:deleted")
    verify(backup, quiet)


def test_drafts_are_no_part_of_a_backup(backup: Path) -> None:
    assert [entry.path for entry in verify(backup, quiet).files] == [UPLOAD, INDEX, CATALOGUE]


def test_data_that_is_there_is_moved_aside_only_when_told(backup: Path) -> None:
    target = backup.with_name("target")
    (target / "milvus").mkdir(parents=True)
    (target / "milvus" / "ragmesh.db").write_bytes(b"precious")
    (target / "models").mkdir()
    (target / "models" / "model.onnx").write_bytes(b"stays")
    with pytest.raises(FailedPrecondition) as refused:
        asyncio.run(restore(backup, target, quiet))
    assert refused.value.reason == "DATA_NOT_EMPTY"
    assert (target / "milvus" / "ragmesh.db").read_bytes() == b"precious"
    restored = asyncio.run(restore(backup, target, quiet, force=True))
    assert restored.aside is not None
    assert (restored.aside / "milvus" / "ragmesh.db").read_bytes() == b"precious"
    assert (target / "models" / "model.onnx").read_bytes() == b"stays"
    assert (target / UPLOAD).exists()


def test_a_folder_in_use_is_left_alone(backup: Path) -> None:
    target = backup.with_name("target")
    (target / "milvus").mkdir(parents=True)
    lock = target / "milvus" / "engine.lock"
    holding = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.lockf(f, fcntl.LOCK_EX); print('has it', flush=True); sys.stdin.read()"
    # Another process: these locks do not keep out the one that has them.
    with subprocess.Popen(
        [sys.executable, "-c", holding, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "has it\n"
        with pytest.raises(FailedPrecondition) as refused:
            asyncio.run(restore(backup, target, quiet, force=True))
        other.communicate("")
    assert refused.value.reason == "DATA_IN_USE"


def test_a_folder_whose_redis_runs_is_left_alone(backup: Path) -> None:
    target = backup.with_name("target")
    with running_redis(target / "redis"), pytest.raises(FailedPrecondition) as refused:
        asyncio.run(restore(backup, target, quiet, force=True))
    assert refused.value.reason == "DATA_IN_USE"


def test_a_restore_that_broke_off_is_taken_up_without_force(backup: Path) -> None:
    target = backup.with_name("target")
    (target / "redis").mkdir(parents=True)
    (target / "redis" / "appendonly.aof").write_bytes(b"half")
    (target / UNFINISHED).touch()
    restored = asyncio.run(restore(backup, target, quiet))
    assert restored.aside is not None
    assert (restored.aside / "redis" / "appendonly.aof").exists()
    assert not (target / UNFINISHED).exists()


def test_services_do_not_start_on_half_a_restore(short: Path) -> None:
    (short / UNFINISHED).touch()
    done = ragmesh_sync(["-m", "services"], RAG_DATA_DIR=str(short))
    assert done[0] == 1
    assert "ragmesh restore" in done[1]


async def test_a_backup_is_never_written_over_and_never_inside_the_data(short: Path, redis) -> None:
    data = short / "data"
    (short / "there").mkdir()
    for target, kind in ((short / "there", AlreadyExists), (data / "backup", InvalidInput)):
        with pytest.raises(kind):
            await take(target, data, redis, FileIndex(data), quiet)


async def test_one_backup_at_a_time(short: Path, redis) -> None:
    async with paused(redis):
        with pytest.raises(Conflict) as refused:
            await take(short / "second", short / "data", redis, FileIndex(short / "data"), quiet)
        assert refused.value.reason == "BACKUP_RUNNING"
    assert not await is_paused(redis)


async def test_a_backup_whose_pause_ended_early_is_thrown_away(short: Path) -> None:
    data = short / "data"
    (data / "redis").mkdir(parents=True)

    class Slow(FileIndex):
        async def snapshot(self, name: str) -> tuple[str, str]:
            await client.delete(KEY)  # as when this process stood still for longer than the pause lasts
            return await super().snapshot(name)

    with running_redis(data / "redis") as url:
        async with open_redis(url, 60) as client:
            with pytest.raises(Unavailable) as refused:
                await take(short / "backup", data, client, Slow(data), quiet)
    assert refused.value.reason == "PAUSE_LOST"
    assert not list(short.glob("backup*"))


class Away(FileIndex):
    """A retriever that cannot be reached for some attempts."""

    def __init__(self, data: Path, times: int) -> None:
        super().__init__(data)
        self.times = times
        self.attempts = 0

    async def snapshot(self, name: str) -> tuple[str, str]:
        self.attempts += 1
        if self.attempts <= self.times:
            raise Unavailable("The retriever cannot be reached.", "RETRIEVER_UNAVAILABLE")
        return await super().snapshot(name)


async def hurried(seconds: float) -> None:
    await asyncio.sleep(min(seconds, 0.01))


async def test_a_retriever_that_is_started_again_meanwhile_is_waited_for(short: Path) -> None:
    data = short / "data"
    index = Away(data, 3)
    with running_redis(data / "redis") as url:
        async with open_redis(url, 60) as client:
            manifest = await take(short / "backup", data, client, index, quiet, pause=hurried)
    assert index.attempts == 4
    assert INDEX in {entry.path for entry in manifest.files}


async def test_a_backup_that_fails_leaves_nothing(short: Path) -> None:
    data = short / "data"
    index = Away(data, 1_000)
    with running_redis(data / "redis") as url:
        async with open_redis(url, 60) as client:
            with pytest.raises(Unavailable) as refused:
                await take(short / "backup", data, client, index, quiet, pause=hurried)
            assert not await is_paused(client)
    assert (refused.value.reason, index.attempts) == ("RETRIEVER_UNAVAILABLE", 6)
    assert not list(short.glob("backup*"))


def ragmesh_sync(arguments: list[str], **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, *arguments], env=child_environment(**{"REDIS_URL": "", **environment}), capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_the_command_refuses_stores_that_are_elsewhere(short: Path) -> None:
    for name in ("REDIS_URL", "MILVUS_URI", "INGESTOR_BLOBS_URL"):
        code, said = ragmesh_sync(["-m", "rag.cli", "backup", str(short / "b")], **{name: "redis://elsewhere:6379"})
        assert code == 1
        assert name in said
        assert "index export" in " ".join(said.split())


def test_the_command_verifies_and_restores(backup: Path) -> None:
    code, said = ragmesh_sync(["-m", "rag.cli", "backup", "--verify", str(backup), "--json"])
    assert code == 0, said
    assert json.loads(said)["documents"] == 1
    target = backup.with_name("target")
    code, said = ragmesh_sync(["-m", "rag.cli", "restore", str(backup), "--data-dir", str(target), "--json"])
    assert code == 0, said
    assert json.loads(said)["tenants"] == {"acme": 1}
    flipped(INDEX)(backup)
    code, said = ragmesh_sync(["-m", "rag.cli", "backup", "--verify", str(backup)])
    assert code == 1
    assert "BACKUP_DAMAGED" in said


def test_the_command_says_when_nothing_runs(short: Path) -> None:
    code, said = ragmesh_sync(["-m", "rag.cli", "backup", str(short / "b"), "--data-dir", str(short)])
    assert code == 3
    assert "REDIS_UNAVAILABLE" in said
