"""The process is killed at each named point, at the first and again at the second delivery: the end is always the same.

All passages of an unbroken run, none twice, none missing, nothing visible before its version is whole, and no text embedded a
second time.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import redis as sync_redis

from rag.ids import new_id
from rag.v1 import ingestor_pb2 as pb
from tests.chaos.client import FINAL, Client, client_of, persistently, suppress_passing
from tests.chaos.mesh import SMALL_BATCHES, Mesh, embedded_by, running_mesh
from tests.doubles.fixtures import ModelServer
from tests.waiting import until

SUBMITTING = ("blob_synced", "blob_committed", "job_enqueuing", "job_enqueued")
WORKING = (
    "job_taken", "document_extracted", "batch_embedded:2", "batch_indexed:2", "version_committing", "version_committed", "job_ended",
)  # fmt: skip
ONCE = {"job_ended", "version_live"}
"""What was done up to here is not done again: a second delivery does not come by."""
UPDATING = ("version_opened", "version_live")
DELETING = (("retriever", "document_deleted"), ("ingestor", "jobs_erased"), ("retriever", "rows_erased"))
PARAGRAPHS = 32

deliveries = pytest.mark.parametrize("delivery", [1, 2], ids=["first", "second"])


@pytest.fixture(scope="module")
def mesh(model_server: ModelServer) -> Iterator[Mesh]:
    with tempfile.TemporaryDirectory(prefix="rag") as folder:
        settings = {
            **embedded_by(model_server),
            **SMALL_BATCHES,
        }
        with running_mesh(Path(folder), **settings) as mesh:
            yield mesh


def document(nonce: str, changed: int = 0) -> bytes:
    """A text of a few embedding batches that exists only once; the last `changed` paragraphs are another text."""
    text = "\n\n".join(
        f"Paragraph {number} of {nonce}{' in its new form' if number >= PARAGRAPHS - changed else ''} tells about the lighthouse, "
        f"its keeper, the number {number * 7919}, and the ships that pass it by night."
        for number in range(PARAGRAPHS)
    )
    return text.encode()


class Case:
    """One document of one tenant, and what must be true of it in the end."""

    def __init__(self, mesh: Mesh, model: ModelServer, client: Client, nonce: str) -> None:
        self.mesh, self.model, self.client, self.nonce = mesh, model, client, nonce
        self.request_id = new_id("request")

    async def submit(self, content: bytes) -> pb.Job:
        return await self.client.submit(content, "doc", self.request_id)

    async def attempt(self, victim: str, act: Callable[[], Awaitable[object]]) -> bool:
        """Do what leads the victim to its point; again when it was refused and nobody died, as may happen on a busy machine.

        Tell whether it was answered.
        """
        while self.mesh.is_running(victim):
            with suppress_passing():
                await act()
                return True
        return False

    async def die_and_restart(self, victim: str, point: str, delivery: int) -> None:
        """Be there when the victim dies, once or twice, and start it again."""
        for again in range(delivery - 1, -1, -1):
            self.mesh.wait_dead(victim)
            if victim != "retriever":
                await self.nothing_half_done()
            self.mesh.start(victim, failpoint=point if again else "")

    async def nothing_half_done(self) -> None:
        passages = await self.client.passages("doc")
        live = await self.client.document("doc")
        assert len(passages) == (live.passage_count if live else 0)
        assert len({version for version, _, _ in passages}) <= 1

    async def like_an_unbroken_run(self, content: bytes) -> None:
        found = await self.client.passages("doc")
        async with client_of(self.mesh, new_id("reference")) as unbroken:
            job = await unbroken.submit(content, "doc", "reference")
            assert (await unbroken.ended(job.id)).state == pb.JOB_STATE_READY
            expected = await unbroken.passages("doc")
        assert [passage[1:] for passage in found] == [passage[1:] for passage in expected]
        assert len(found) >= PARAGRAPHS // 2
        shown = await persistently(lambda: self.client.search(self.nonce))
        assert sorted(ordinal for _, _, ordinal, _ in shown) == [ordinal for _, ordinal, _ in found]
        self.nothing_embedded_twice()

    async def is_done_once(self, victim: str, point: str, content: bytes) -> None:
        """Deliver the same content again: it ends well without coming by the point a second time."""
        live = await self.client.document("doc")
        restart(self.mesh, victim, point)
        job = await self.client.submit(content, "doc", new_id("request"))
        if point == "job_ended":  # every job comes by its end
            self.mesh.wait_dead(victim)
            self.mesh.start(victim)
        again = await self.client.ended(job.id)
        assert (again.state, again.unchanged, again.document_version) == (pb.JOB_STATE_READY, True, live.version)
        if point != "job_ended":  # the next document must not come by here either
            self.mesh.kill(victim)
            self.mesh.start(victim)
        self.nothing_embedded_twice()

    def nothing_embedded_twice(self) -> None:
        counts = {text: count for text, count in self.model.counts().items() if self.nonce in text}
        assert counts
        assert set(counts.values()) == {1}, {text: count for text, count in counts.items() if count > 1}


@pytest.fixture
async def case(mesh: Mesh, model_server: ModelServer):
    async with client_of(mesh, new_id("tenant")) as client:
        yield Case(mesh, model_server, client, f"n{secrets.randbelow(10**9)}")


def restart(mesh: Mesh, victim: str, point: str) -> None:
    """Have the victim die at a point of what comes next."""
    mesh.kill(victim)
    mesh.start(victim, failpoint=point if ":" in point else f"{point}:1")


@deliveries
@pytest.mark.parametrize("point", SUBMITTING)
async def test_killed_while_a_document_is_taken_in(case, mesh, point, delivery):
    content = document(case.nonce)
    for _ in range(delivery):
        restart(mesh, "ingestor", point)
        assert not await case.attempt("ingestor", lambda: case.client.submit_once(content, "doc", case.request_id))
        mesh.wait_dead("ingestor")
    mesh.start("ingestor")
    job = await case.submit(content)
    assert (await case.client.ended(job.id)).state == pb.JOB_STATE_READY
    assert (await case.submit(content)).id == job.id
    await case.like_an_unbroken_run(content)


@deliveries
@pytest.mark.parametrize("point", WORKING)
async def test_killed_while_a_document_is_worked_on(case, mesh, point, delivery):
    content = document(case.nonce)
    restart(mesh, "ingestor", point)
    await case.attempt("ingestor", lambda: case.client.submit_once(content, "doc", case.request_id))
    await case.die_and_restart("ingestor", point if ":" in point else f"{point}:1", 1 if point in ONCE else delivery)
    ended = await case.client.ended((await case.submit(content)).id)
    assert (ended.state, ended.document_version > 0) == (pb.JOB_STATE_READY, True)
    await case.like_an_unbroken_run(content)
    if point in ONCE and delivery == 2:
        await case.is_done_once("ingestor", point, content)


@deliveries
@pytest.mark.parametrize("point", UPDATING)
async def test_killed_while_a_document_is_replaced(case, mesh, point, delivery):
    first, second = document(case.nonce), document(case.nonce, changed=3)
    assert (await case.client.ended((await case.submit(first)).id)).state == pb.JOB_STATE_READY
    case.request_id = new_id("request")
    restart(mesh, "retriever", point)
    job = await case.submit(second)
    await case.die_and_restart("retriever", f"{point}:1", 1 if point in ONCE else delivery)
    assert (await case.client.ended(job.id)).state == pb.JOB_STATE_READY
    assert (await case.client.document("doc")).version >= 2
    await case.like_an_unbroken_run(second)
    if point in ONCE and delivery == 2:
        await case.is_done_once("retriever", point, second)


@deliveries
@pytest.mark.parametrize(("victim", "point"), DELETING, ids=[point for _, point in DELETING])
async def test_killed_while_a_document_is_deleted(case, mesh, victim, point, delivery):
    content = document(case.nonce)
    assert (await case.client.ended((await case.submit(content)).id)).state == pb.JOB_STATE_READY
    restart(mesh, victim, point)
    await case.attempt(victim, lambda: case.client.delete_once("doc"))
    if point == "document_deleted" and delivery == 2:
        mesh.wait_dead(victim)
        mesh.start(victim)
        delivery = 0  # a tombstone is set once
    await case.die_and_restart(victim, f"{point}:1", delivery)
    await case.client.delete("doc")
    assert await case.client.document("doc") is None
    assert await persistently(lambda: case.client.search(case.nonce)) == []
    await until(lambda: not left_of(mesh, case), 60)


def left_of(mesh: Mesh, case: Case) -> list[str]:
    """Uploads, and keys of Redis that still hold something of the tenant but that it once deleted a document."""
    blobs = [
        str(path) for path in (mesh.folder / "blobs").rglob("*") if path.is_file() and case.client.tenant in str(path)
    ]
    with sync_redis.Redis.from_url(mesh.redis_url) as client:
        keys = [key.decode() for key in client.scan_iter(f"rag:{case.client.tenant}:*", count=10_000)]
        due = [
            member.decode()
            for key in ("rag:deletions", "rag:erasures", "rag:open_versions")
            for member in client.zrange(key, 0, -1)
            if case.client.tenant.encode() in member
        ]
    # Counters stay; cached rankings are ids and numbers, not valid any more, and expire, as marks of what was forgotten do.
    staying = (":versions:", ":commits", ":changes", ":stored", ":retrieval:", ":retrievals", ":answers_forgotten:")
    return blobs + [key for key in keys if not any(part in key for part in staying)] + due


def test_every_final_state_is_known_to_the_client():
    assert len(FINAL) == 4
