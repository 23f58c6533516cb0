"""What the users of ingestion were told, and what must therefore be there in the end."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import redis as sync_redis

from rag.ids import new_id
from rag.v1 import ingestor_pb2 as pb
from rag.v1 import retriever_pb2
from tests.chaos.client import Client, persistently
from tests.chaos.mesh import Mesh
from tests.ingestor.pdfs import locked, pdf_of_pages
from tests.waiting import until

PASSWORD = "opens it"
DOCUMENTS = ("a", "b", "c")
_MARK = re.compile(r"g(\d+) part (\d+) of (\d+)")


@dataclass
class Made:
    """One accepted upload, and what is known of its fate."""

    document: str
    content: bytes
    request: str
    generation: int
    fails: bool = False
    is_locked: bool = False
    is_cancelled: bool = False
    job_id: str = ""

    def may_end(self, job: pb.Job, *, is_outrun: bool) -> bool:
        """Whether the job may end like this; `is_outrun` when a later upload of the document is ready."""
        if self.is_cancelled:
            return bool(job.state == pb.JOB_STATE_CANCELLED)
        if self.fails:
            reasons = {"NO_TEXT", "PDF_ENCRYPTED"} | ({"VERSION_SUPERSEDED"} if is_outrun else set())
            return job.state == pb.JOB_STATE_FAILED and job.error.reason in reasons
        if self.is_locked and is_outrun and job.error.reason == "VERSION_SUPERSEDED":
            return bool(job.state == pb.JOB_STATE_FAILED)
        return bool(job.state == pb.JOB_STATE_READY)


@dataclass
class Model:
    """The uploads of documents that were not deleted since, in the order of their acceptance."""

    uploads: list[Made] = field(default_factory=list)
    accepted: set[str] = field(default_factory=set)
    """The ids of all jobs there ever were."""
    generation: int = 0

    def accept(self, one: Made, job_id: str) -> None:
        assert job_id not in self.accepted
        one.job_id = job_id
        self.accepted.add(job_id)
        self.uploads.append(one)

    def of(self, document: str) -> list[Made]:
        return [one for one in self.uploads if one.document == document]

    def forget(self, document: str) -> None:
        self.uploads = [one for one in self.uploads if one.document != document]

    def next(self, document: str, kind: str, size: int) -> Made:
        self.generation += 1
        number = self.generation
        lines = [
            f"Lighthouse g{number} part {part} of {size} shows a light to the ships at night." for part in range(size)
        ]
        content = "\n\n".join(f"# Part {part}\n\n{line}" for part, line in enumerate(lines)).encode()
        if kind == "blank":
            content = b" \n" * number
        if kind == "locked":
            content = locked(pdf_of_pages(lines), PASSWORD, "owner", "AES-128")
        return Made(document, content, new_id("request"), number, kind != "text", kind == "locked")


class Ending:
    """What must be true when all jobs are at their end."""

    def __init__(self, mesh: Mesh, client: Client, model: Model) -> None:
        self.mesh, self.client, self.model = mesh, client, model
        self._left = ""

    async def check(self) -> None:
        live = {document for document in DOCUMENTS if await self._check(document, self.model.of(document))}
        listing = retriever_pb2.ListDocumentsRequest()
        how = {"metadata": self.client.metadata, "timeout": 10}
        listed = await persistently(lambda: self.client.retriever.ListDocuments(listing, **how))
        assert {document.id for document in listed.documents} == live
        await until(self._only_known_jobs)
        await until(self._nothing_is_left, why=lambda: f"{self._left}\n{self.mesh.tail('ingestor')}")

    async def _check(self, document: str, made: list[Made]) -> bool:
        """Compare one document with the last of its uploads that is ready; return whether there is one."""
        jobs = [await self.client.ended(one.job_id) for one in made]
        ready = [number for number, job in enumerate(jobs) if job.state == pb.JOB_STATE_READY]
        for number, (one, job) in enumerate(zip(made, jobs, strict=True)):
            is_outrun = bool(ready) and ready[-1] > number
            assert one.may_end(job, is_outrun=is_outrun), (one, job)
        found = await self.client.passages(document)
        marks = [mark.groups() for _, _, text in found for mark in _MARK.finditer(text)]
        if not ready:
            assert (found, await self.client.document(document)) == ([], None)
            assert await persistently(lambda: self.client.search("lighthouse", document)) == []
            return False
        assert {int(generation) for generation, _, _ in marks} == {made[ready[-1]].generation}
        assert sorted(int(part) for _, part, _ in marks) == list(range(int(marks[0][2])))
        return True

    async def _only_known_jobs(self) -> bool:
        how = {"metadata": self.client.metadata, "timeout": 10}
        jobs = await persistently(lambda: self.client.ingestor.ListJobs(pb.ListJobsRequest(page_size=500), **how))
        return {job.id for job in jobs.jobs} == {one.job_id for one in self.model.uploads}

    async def _nothing_is_left(self) -> bool:
        """Uploads of jobs that can be retried, and vectors of documents that are there: no others."""
        how = {"metadata": self.client.metadata, "timeout": 10}
        failed = pb.ListJobsRequest(page_size=500, state=pb.JOB_STATE_FAILED)
        jobs = await persistently(lambda: self.client.ingestor.ListJobs(failed, **how))
        files = [path for path in (self.mesh.folder / "blobs").rglob("*") if path.is_file()]
        uploads = {path.name for path in files if self.client.tenant in str(path)}
        # One that was never answered, since the process died, is swept much later.
        kept = {job_id for job_id in self.model.accepted if any(job_id in name for name in uploads)}
        with sync_redis.Redis.from_url(self.mesh.redis_url) as client:
            prefix = f"rag:{self.client.tenant}:vectors:"
            claimed = {key.decode().removeprefix(prefix) for key in client.scan_iter(f"{prefix}*", count=10_000)}
        gone = {name for name in DOCUMENTS if await self.client.document(name) is None}
        self._left = f"uploads: {kept ^ {job.id for job in jobs.jobs}}, vectors: {claimed & gone}"
        return kept == {job.id for job in jobs.jobs} and not claimed & gone
