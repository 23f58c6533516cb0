"""`make bench-mixed SECONDS=60`: writers, deleters and readers at once, and a check of every answer.

Each document has one writer, which replaces it again and again by versions of other sizes and now and then deletes it. Readers
ask for whole documents. An answer is wrong when it holds two versions of a document, a part of a version, or a version that
was not live at any moment of the search. At the end the counts must be exact. Exit 1 when anything was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from bench.report import finish
from rag.runtime import logs
from rag.runtime.tasks import together
from rag.v1 import passage_pb2
from rag.v1 import retriever_pb2 as pb
from tests.redis_server import running_redis
from tests.retriever.process import started
from tests.retriever.room import document, embedder, ingestor, of
from tests.waiting import until

if TYPE_CHECKING:
    from rag.v1.retriever_pb2_grpc import RetrieverServiceAsyncStub

_TENANTS = ("acme", "umbrella")
_SIZES = range(1, 30)
_DELETE_EVERY = 12
_CALL_S = 30.0
_COMMON_WORD = "quokka"


@dataclass(slots=True)
class State:
    """What a document was from one moment on: `size` passages of `revision`, or not there (revision 0).

    `began` is when the change was asked for, `ended` when its answer came: it took effect at some moment between the two.
    """

    revision: int
    size: int
    began: float
    ended: float = float("inf")


@dataclass(slots=True)
class Document:
    """A document and everything that ever became of it."""

    tenant: str
    id: str
    states: list[State] = field(default_factory=lambda: [State(0, 0, 0.0, 0.0)])

    def allowed(self, since: float, until_: float) -> list[State]:
        """Return what it may have been at some moment between the two."""
        possible = [state for state in self.states if state.began <= until_]
        settled = [state for state in possible if state.ended <= since]
        return possible[possible.index(settled[-1]) :]


@dataclass(slots=True)
class Findings:
    """What went wrong, and how much was done."""

    errors: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    counts: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    search_ms: list[float] = field(default_factory=list)


async def write(
    stub: RetrieverServiceAsyncStub, doc: Document, draw: random.Random, end: float, found: Findings
) -> None:
    """Replace one document again and again, until `end`."""
    revision = 0
    while time.monotonic() < end:
        if doc.states[-1].revision and draw.randrange(_DELETE_EVERY) == 0:
            state = State(0, 0, time.monotonic())
            doc.states.append(state)
            request = pb.DeleteDocumentRequest(document_id=doc.id)
            await stub.DeleteDocument(request, metadata=of(doc.tenant), timeout=_CALL_S)
            found.done["deletes"] += 1
        else:
            revision += 1
            size = draw.choice(_SIZES)
            texts = [f"{_COMMON_WORD} {doc.tenant} {doc.id} revision {revision} passage {n}" for n in range(size)]
            state = State(revision, size, time.monotonic())
            doc.states.append(state)
            parts = iter(document(doc.id, texts, title=f"revision {revision}"))
            _ = [event async for event in stub.Index(parts, metadata=of(doc.tenant), timeout=_CALL_S)]
            found.done["versions"] += 1
        state.ended = time.monotonic()


async def read(
    stub: RetrieverServiceAsyncStub, documents: Sequence[Document], draw: random.Random, end: float, found: Findings
) -> None:
    """Search until `end`, half of the time for one whole document."""
    while time.monotonic() < end:
        doc = draw.choice(documents)
        whole = draw.random() < 0.5
        wanted = passage_pb2.Filter(document_ids=[doc.id]) if whole else None
        mode = pb.RETRIEVAL_MODE_KEYWORD if whole else pb.RETRIEVAL_MODE_HYBRID
        query = _COMMON_WORD if whole else f"{doc.id} revision {len(doc.states)}"
        request = pb.RetrieveRequest(query=query, top_k=100 if whole else 20, mode=mode, filter=wanted)
        since = time.monotonic()
        events = [event async for event in stub.Retrieve(request, metadata=of(doc.tenant), timeout=_CALL_S)]
        hits = [event.hit for event in events if event.HasField("hit")]
        found.search_ms.append((time.monotonic() - since) * 1000)
        found.done["searches"] += 1
        of_tenant = [each for each in documents if each.tenant == doc.tenant]
        _judge(hits, of_tenant, doc if whole else None, since, found)


def _judge(
    hits: Sequence[pb.Hit], documents: Sequence[Document], whole: Document | None, since: float, found: Findings
) -> None:
    now = time.monotonic()
    for doc in documents if whole is None else [whole]:
        of_doc = [hit.passage.text.split() for hit in hits if hit.passage.document_id == doc.id]
        seen = {int(words[4]) for words in of_doc}
        allowed = doc.allowed(since, now)
        told = f"{doc.tenant}/{doc.id}: saw revisions {sorted(seen)} with {len(of_doc)} passages"
        if len(seen) > 1 or not seen <= {state.revision for state in allowed}:
            found.wrong.append(f"{told}; allowed were {[state.revision for state in allowed]}")
        if whole is None:
            continue
        sizes = {(state.revision, state.size) for state in allowed}
        if (next(iter(seen), 0), len(of_doc)) not in sizes:
            found.wrong.append(f"{told}; allowed were {sorted(sizes)}")
    foreign = {hit.passage.text.split()[1] for hit in hits} - {documents[0].tenant}
    if foreign:
        found.wrong.append(f"{documents[0].tenant} saw passages of {sorted(foreign)}")


async def count(stub: RetrieverServiceAsyncStub, documents: Sequence[Document], found: Findings) -> None:
    """Compare the catalogue, the passages and the rows with what was written last."""
    for doc in documents:
        last = doc.states[-1]
        request = pb.ListPassagesRequest(document_id=doc.id, page_size=500)
        try:
            listed = await stub.ListPassages(request, metadata=of(doc.tenant), timeout=_CALL_S)
            have = len(listed.passages)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            have = 0
        if have != last.size:
            found.counts.append(f"{doc.tenant}/{doc.id}: {have} passages instead of {last.size}")
    expected = sum(doc.states[-1].size for doc in documents)

    async def rows_are_exact() -> bool:
        index = await stub.GetIndex(pb.GetIndexRequest(), metadata=of(documents[0].tenant), timeout=_CALL_S)
        found.done["rows"] = index.live.rows
        return bool(index.live.rows == expected)

    try:
        await until(rows_are_exact, 120)
    except AssertionError:
        found.counts.append(f"{found.done['rows']} rows instead of {expected}")


async def play(seconds: float, seed: int, writers: int, readers: int) -> Findings:
    """Run writers and readers for so many seconds over a retriever of its own."""
    found = Findings()
    documents = [Document(_TENANTS[number % len(_TENANTS)], f"doc{number}") for number in range(writers)]
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rag")))
        redis_url = stack.enter_context(running_redis(folder / "r"))
        port = await stack.enter_async_context(embedder())
        jobs = await stack.enter_async_context(ingestor())
        stub: Any = (await started(folder, redis_url, port, stack, INGESTOR_ADDRESS=jobs))[2]
        end = time.monotonic() + seconds

        async def guarded(work: object) -> None:
            try:
                await work  # type: ignore[misc]
            except grpc.aio.AioRpcError as error:
                found.errors.append(f"{error.code().name}: {error.details()}")

        write_all = [guarded(write(stub, doc, random.Random(seed + n), end, found)) for n, doc in enumerate(documents)]
        read_all = [guarded(read(stub, documents, random.Random(~(seed + n)), end, found)) for n in range(readers)]
        await together(*write_all, *read_all)
        await count(stub, documents, found)
    return found


def main() -> None:
    """Run, print what was found, exit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default 60)")
    parser.add_argument("--writers", type=int, default=8, help="documents, each with a writer of its own (default 8)")
    parser.add_argument("--readers", type=int, default=4, help="callers that search all the time (default 4)")
    parser.add_argument("--seed", type=int, default=1, help="what is written and asked (default 1)")
    options = parser.parse_args()
    logs.configure("bench", "text", "WARNING")
    found = asyncio.run(play(options.seconds, options.seed, options.writers, options.readers))
    problems = {"errors": found.errors, "wrong": found.wrong, "counts": found.counts}
    for kind, lines in problems.items():
        for line in lines[:20]:
            print(f"{kind}: {line}")
    row = {
        **found.done,
        "p50_ms": statistics.median(found.search_ms),
        **{kind: len(all_) for kind, all_ in problems.items()},
    }
    finish("mixed", [row], failed=any(problems.values()), seed=options.seed)


if __name__ == "__main__":
    main()
