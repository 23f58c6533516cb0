"""What the users of a chaos run do, and what must be true for them: a model of the documents that the seed alone decides."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import grpc

from rag.v1 import ingestor_pb2 as pb
from tests.chaos.client import PASSING, Client

_MARK = re.compile(r"(doc_\d+) generation (\d+) part \d+ of (\d+)")
_MOST_PARTS = 40


@dataclass(slots=True)
class Expected:
    """What a document's user was told: the latest generation that was accepted, 0 after a delete."""

    generation: int = 0
    request: int = 0
    jobs: list[str] = field(default_factory=list)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(slots=True)
class Findings:
    """What went wrong, by kind; empty when nothing did."""

    lost: list[str] = field(default_factory=list)
    half_visible: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    phantoms: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        return {name: len(getattr(self, name)) for name in self.__slots__}


def text_of(name: str, generation: int, parts: int) -> bytes:
    """A document of so many passages, each of which says what it belongs to."""
    return "\n\n".join(
        f"# Part {part}\n\nLighthouse {name} generation {generation} part {part} of {parts} shows a light to the ships."
        for part in range(parts)
    ).encode()


class Workload:
    """Uploads, updates and deletes of some documents, with searches all the time."""

    def __init__(self, client: Client, rng: random.Random, documents: int) -> None:
        self.client = client
        self.findings = Findings()
        self.searches = self.operations = 0
        self._rng = rng
        self._parts = [rng.randint(1, _MOST_PARTS) for _ in range(documents)]
        self._documents = {f"doc_{number}": Expected() for number in range(documents)}

    async def operate(self) -> None:
        """One upload, update or delete of a document, acknowledged when this returns."""
        name = self._rng.choice(list(self._documents))
        deletes = self._rng.random() < 0.15
        expected = self._documents[name]
        async with expected.lock:
            self.operations += 1
            if deletes and expected.generation:
                await self.client.delete(name)
                expected.generation = 0
                return
            expected.request += 1
            content = text_of(name, expected.request, self._size(name))
            job = await self.client.submit(content, name, f"{name}-{expected.request}")
            expected.generation = expected.request
            expected.jobs.append(job.id)

    async def look(self) -> None:
        """One search in one document: all of one generation, or nothing of any."""
        name = self._rng.choice(list(self._documents))
        try:
            hits = await self.client.search("lighthouse", document_id=name)
        except grpc.aio.AioRpcError as error:
            if error.code() not in PASSING:
                raise
            return
        self.searches += 1
        self._check_whole(name, [text for _, _, _, text in hits])

    async def settle(self) -> None:
        """Wait for the end of every job, then compare what is there with what must be."""
        for name, expected in self._documents.items():
            for job_id in expected.jobs:
                await self._finish(name, expected, job_id)
            passages = await self.client.passages(name)
            self._check_end(name, expected, [(ordinal, text) for _, ordinal, text in passages])

    async def _finish(self, name: str, expected: Expected, job_id: str) -> None:
        try:
            job = await self.client.ended(job_id)
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.NOT_FOUND:  # erased with a deleted document
                raise
            return
        if job_id == expected.jobs[-1] and expected.generation and job.state != pb.JOB_STATE_READY:
            self.findings.lost.append(f"{name}: {pb.JobState.Name(job.state)} {job.error.reason}")

    def _check_end(self, name: str, expected: Expected, passages: Sequence[tuple[int, str]]) -> None:
        found = {int(match[2]) for _, text in passages if (match := _MARK.search(text))}
        if not expected.generation:
            self.findings.phantoms.extend(f"{name}: generation {one} after its delete" for one in found)
            return
        if found != {expected.generation}:
            self.findings.lost.append(f"{name}: generations {sorted(found)} instead of {expected.generation}")
        self._check_whole(name, [text for _, text in passages])
        ordinals = Counter(ordinal for ordinal, _ in passages)
        self.findings.duplicates.extend(f"{name}: passage {one} twice" for one, times in ordinals.items() if times > 1)

    def _check_whole(self, name: str, texts: Sequence[str]) -> None:
        if not texts:
            return
        marks = [match.groups() for text in texts for match in _MARK.finditer(text)]
        parts = {int(count) for _, _, count in marks}
        whole = len({(document, generation) for document, generation, _ in marks}) == 1 and parts == {len(marks)}
        if not whole:
            self.findings.half_visible.append(f"{name}: {len(marks)} parts of {sorted(set(marks))}")

    def _size(self, name: str) -> int:
        return self._parts[int(name.removeprefix("doc_"))]
