"""Deleted is gone: from what readers see at once, and as bytes from every file of every service within a minute."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
import redis as sync_redis

from rag.ids import new_id
from rag.v1 import ingestor_pb2 as pb
from rag.v1.passage_pb2 import MetadataValue
from tests.chaos.client import Client, client_of, persistently
from tests.chaos.mesh import Mesh, embedded_by, running_mesh
from tests.doubles.fixtures import ModelServer
from tests.waiting import until

LIMIT_S = 60.0
"""What is promised with the settings as they come."""
_LETTERS = "bcdfghklmnprstvwz"


@pytest.fixture
def mesh(model_server: ModelServer) -> Iterator[Mesh]:
    """Erasure has its own settings here: none."""
    with tempfile.TemporaryDirectory(prefix="rag") as folder:
        settings = {
            **embedded_by(model_server),
            "INGESTOR_MAX_ATTEMPTS": "1",
            "TMPDIR": folder,
        }
        with running_mesh(Path(folder), **settings) as mesh:
            with sync_redis.Redis.from_url(mesh.redis_url) as client:
                client.config_set("rdbcompression", "no")  # what is packed would not be found
            yield mesh


class Secret:
    """A document whose every part holds a word that is nowhere else."""

    def __init__(self, document_id: str) -> None:
        self.document_id = document_id
        places = ("heading", "first", "middle", "last", "name", "title", "metadata", "request")
        self.words = {place: _word() for place in places}
        self.vector = b""

    @property
    def text(self) -> bytes:
        words = self.words
        filling = "\n\n".join(f"The keeper of lighthouse {number} counts {words['middle']}." for number in range(60))
        return f"# {words['heading']}\n\n{words['first']} is here.\n\n{filling}\n\n{words['last']} too.".encode()

    async def submit(self, client: Client, content: bytes | None = None) -> pb.Job:
        words = self.words
        return await client.submit(
            self.text if content is None else content,
            self.document_id,
            words["request"],
            name=f"{words['name']}.md",
            title=words["title"],
            metadata={"of": MetadataValue(text=words["metadata"])},
        )

    def learn_vector(self, mesh: Mesh, tenant: str) -> None:
        """Remember some bytes of one of its vectors."""
        with sync_redis.Redis.from_url(mesh.redis_url) as client:
            keys = client.smembers(f"rag:{tenant}:vectors:{self.document_id}")
            values = [value for key in sorted(keys) if (value := client.get(key))]
        parts = (value[at : at + 24] for value in values for at in range(0, 1024, 24))
        self.vector = next(part for part in parts if not {b"\n", b"\0"} & {part[i : i + 1] for i in range(24)})

    @property
    def traces(self) -> dict[str, bytes]:
        found = {f"{self.document_id}: {place}": word.encode() for place, word in self.words.items()}
        return found | ({f"{self.document_id}: vector": self.vector} if self.vector else {})


def _word() -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(20))


def _files_with(folder: Path, trace: bytes) -> set[str]:
    """Searched by a process of its own: one that closes a file of the index loses its locks on it."""
    command = ["grep", "-r", "-l", "-a", "-F", "-e", trace, "."]
    found = subprocess.run(command, cwd=folder, capture_output=True, env={**os.environ, "LC_ALL": "C"}, check=False)
    # A file that vanished meanwhile, or a socket, is told as an error.
    return set(found.stdout.decode().split())


async def found(mesh: Mesh, *documents: Secret) -> dict[str, set[str]]:
    """What is left of documents, and where."""
    traces = {name: trace for document in documents for name, trace in document.traces.items()}
    files = {name: await asyncio.to_thread(_files_with, mesh.folder, trace) for name, trace in traces.items()}
    return {name: places for name, places in files.items() if places}


async def ready(client: Client, document: Secret, content: bytes | None = None) -> None:
    job = await document.submit(client, content)
    assert (await client.ended(job.id)).state == pb.JOB_STATE_READY


async def taken(client: Client, job: pb.Job) -> None:
    async def is_at_work() -> bool:
        return (await client.job(job.id)).progress.passages > 0

    await until(is_at_work)


async def half_done(mesh: Mesh, client: Client, running: Secret, waiting: Secret) -> None:
    """One document is at work, and an update of it waits behind it."""
    mesh.pause("embedder")
    await taken(client, await running.submit(client))
    job = await waiting.submit(client)
    assert job.state == pb.JOB_STATE_QUEUED


async def dead(mesh: Mesh, client: Client, document: Secret) -> None:
    mesh.pause("embedder")
    job = await document.submit(client)
    await taken(client, job)
    mesh.kill("ingestor")
    mesh.resume("embedder")
    mesh.start("ingestor")
    assert (await client.ended(job.id)).state == pb.JOB_STATE_DEAD


async def failed(client: Client, document: Secret, content: bytes) -> None:
    job = await document.submit(client, content)
    assert (await client.ended(job.id)).state == pb.JOB_STATE_FAILED


async def test_a_deleted_document_leaves_no_byte_in_any_state(mesh: Mesh) -> None:
    one, old, new = Secret("ready"), Secret("updated"), Secret("updated")
    blank, broken, given_up = Secret("blank"), Secret("broken"), Secret("dead")
    running, waiting, kept = Secret("running"), Secret("running"), Secret("kept")
    secret = [one, old, new, blank, broken, given_up, running, waiting]
    async with client_of(mesh, new_id("tenant")) as client:
        for document in (kept, one, old):
            await ready(client, document)
        for document in (kept, one, old):
            document.learn_vector(mesh, client.tenant)
        await ready(client, new)
        await failed(client, blank, b" \n")
        await failed(client, broken, b"%PDF-1.7\n" + broken.text)
        await dead(mesh, client, given_up)
        await half_done(mesh, client, running, waiting)
        before = await found(mesh, *secret)
        # The id of a request is kept as its digest only, and a blank document has no text.
        assert not [name for name in before if name.endswith("request")]
        assert {
            f"{one.document_id}: {place}" for place in ("heading", "first", "middle", "last", "title", "vector")
        } <= set(before)
        assert {"updated: first", "blank: name", "broken: last", "dead: first", "running: first"} <= set(before)

        passages, document = await client.passages("kept"), await client.document("kept")
        await delete_all(mesh, client, secret)
        for one_id in {document.document_id for document in secret}:
            assert await client.document(one_id) is None
        left: dict[str, set[str]] = {}

        async def nothing_is_left() -> bool:
            nonlocal left
            left = await found(mesh, *secret)
            return not left

        try:
            await until(nothing_is_left, LIMIT_S)
        except AssertionError:
            pytest.fail(f"left after {LIMIT_S} s: {json.dumps({name: sorted(files) for name, files in left.items()})}")
        await is_whole(mesh, client, kept, passages, document)


async def delete_all(mesh: Mesh, client: Client, documents: list[Secret]) -> None:
    """Delete, first while the embedder, which has vectors of them, does not answer."""
    with suppress(grpc.aio.AioRpcError):
        await client.delete_once("running")
    mesh.resume("embedder")
    for document_id in sorted({document.document_id for document in documents}):
        await client.delete(document_id)


async def is_whole(mesh: Mesh, client: Client, kept: Secret, passages: list, document) -> None:
    """The neighbour is what it was, can be found, and stays so over a restart of the index."""
    for restart in (False, True):
        if restart:
            mesh.kill("retriever")
            mesh.start("retriever")
        assert await client.passages("kept") == passages
        assert await client.document("kept") == document
        assert document.name == f"{kept.words['name']}.md"
        for place in ("heading", "first", "last"):
            hits = await persistently(lambda place=place: client.search(kept.words[place]))
            assert hits
            assert {name for name, *_ in hits} == {"kept"}
