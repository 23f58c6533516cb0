"""One document through all stages, to real servers: in order, in bounded pieces, patient with others."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rag.local_model import tokenizer_path
from rag.passage import in_context
from rag.runtime.context import CallContext, bound
from rag.runtime.errors import InvalidInput, Overloaded, RagError, Unavailable
from rag.runtime.peers import open_peer
from services.ingestor.adapters.grpc_embedder import GrpcEmbedder
from services.ingestor.adapters.grpc_index import GrpcIndex
from services.ingestor.adapters.wordpiece_tokens import WordpieceTokens
from services.ingestor.embedding import Embedded, PatientEmbedder
from services.ingestor.fingerprint import fingerprint
from services.ingestor.indexing import Live
from services.ingestor.jobs import Progress, Upload
from services.ingestor.pages import Opening, Page
from services.ingestor.pipeline import Observer, Pipeline, Stages
from services.ingestor.slots import Slots
from services.ingestor.splitting import Sizes
from tests.ingestor.neighbours import Embedder, Retriever, served_embedder, served_retriever, vector_of
from tests.waiting import until

SENTENCES = 30
"""Some hundred tokens: a page is a few passages."""


def page(number: int) -> Page:
    return Page(number, "\n\n".join(f"Page {number} says sentence {at} about nothing much." for at in range(SENTENCES)))


def upload(**changes: object) -> Upload:
    fields = {"title": "", "metadata": {}, "accepted_us": 17, **changes}
    return Upload("tenant", "job_1", "doc", "a.txt", fields.pop("title"), "text/plain", "hash", 3, **fields)


@dataclass
class Reader:
    """Pages from memory. A cleared `open` holds those from `held` on."""

    pages: list[Page]
    opening: Opening | None = None
    held: int = 0
    open: asyncio.Event = field(default_factory=asyncio.Event)
    reads: int = 0
    given: int = 0

    def __post_init__(self) -> None:
        self.open.set()

    @asynccontextmanager
    async def read(self, path, media_type, password=""):
        self.reads += 1
        yield self._items()

    async def _items(self):
        yield self.opening or Opening(len(self.pages), "Found")
        for at, item in enumerate(self.pages):
            if at >= self.held:
                await self.open.wait()
            self.given += 1
            yield item


class Hearing(Embedder):
    """Keeps the ids of the documents whose texts it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.documents: list[str] = []

    async def Embed(self, request, context):
        self.documents.append(request.document_id)
        async for response in super().Embed(request, context):
            yield response


class OneAfterAnother(Embedder):
    """Answers its first call after two others."""

    answered = 0

    arrived = 0

    async def Embed(self, request, context):
        self.arrived += 1
        if self.arrived == 1:
            await until(lambda: self.answered >= 2)
        async for response in super().Embed(request, context):
            yield response
        self.answered += 1


@dataclass
class Room:
    """A pipeline's neighbours, and what it told."""

    embedder: Embedder
    retriever: Retriever
    stages: Stages
    told: list[Progress] = field(default_factory=list)
    troubles: list[Exception] = field(default_factory=list)
    commits: int = 0

    async def run(self, reader: Reader, uploaded: Upload | None = None, slots: Slots | None = None) -> int:
        self.stages = Stages(reader, self.stages.counter, self.stages.embedder, self.stages.index, Sizes(60, 10), 256)
        observer = Observer(self.told.append, self.troubles.append, self._before_commit)
        async with (slots or Slots(1, 0)).slot() as slot:
            pipeline = Pipeline(self.stages, uploaded or upload(), 5, Path("/nowhere"), observer=observer, slot=slot)
            return await pipeline.run()

    async def _before_commit(self) -> None:
        self.commits += 1


@pytest.fixture
def embedder() -> Embedder:
    return Embedder()


@pytest.fixture
async def room(embedder):
    retriever = Retriever()
    counter = WordpieceTokens(tokenizer_path())
    async with (
        served_embedder(embedder) as embedder_address,
        served_retriever(retriever) as retriever_address,
        open_peer(embedder_address, "rag.v1.EmbedderService") as to_embedder,
        open_peer(retriever_address, "rag.v1.RetrieverService") as to_retriever,
    ):
        stages = Stages(Reader([]), counter, GrpcEmbedder(to_embedder, 30), GrpcIndex(to_retriever))
        with bound(CallContext("req_1", "tenant")):
            yield Room(embedder, retriever, stages)


def pages(count: int) -> list[Page]:
    return [page(number) for number in range(1, count + 1)]


def check_whole(version) -> None:
    """All passages in order, each with the vector of its text in context."""
    assert [passage.ordinal for passage in version.passages] == list(range(version.commit.passage_count))
    texts = [in_context(version.header.title, passage.heading, passage.text) for passage in version.passages]
    expected = b"".join(vector_of(text).astype("<f4").tobytes() for text in texts)
    assert b"".join(version.vectors) == expected


async def test_a_document_becomes_a_version(room):
    assert await room.run(Reader(pages(5))) == 1
    (version,) = room.retriever.versions
    check_whole(version)
    assert (version.commit.page_count, version.commit.title, version.header.title) == (5, "Found", "Found")
    assert all(text.startswith("Found\nPage ") for text in room.embedder.texts)
    assert room.commits == 1
    last = room.told[-1]
    assert (last.pages_done, last.pages_total) == (5, 5)
    assert last.passages == last.passages_indexed == last.vectors_computed == version.commit.passage_count
    assert (last.rate_limit_waits, last.seconds_left) == (0, 0.0)
    assert room.told[0].seconds_left is None


@pytest.mark.parametrize("embedder", [OneAfterAnother()], ids=["out of order"])
async def test_passages_stay_in_order_though_calls_end_out_of_order(room):
    await room.run(Reader(pages(12)))
    check_whole(room.retriever.versions[0])


async def test_a_document_without_text_fails(room):
    with pytest.raises(InvalidInput) as failure:
        await room.run(Reader([Page(1, " \n ")]))
    assert failure.value.reason == "NO_TEXT"
    assert not room.retriever.versions


async def test_rate_limits_are_waited_out_and_told_and_the_document_is_read_once(room):
    room.embedder.failures = [Overloaded("Slow down.", "MODEL_RATE_LIMITED", 0.05) for _ in range(5)]
    reader = Reader(pages(8))
    await room.run(reader)
    check_whole(room.retriever.versions[0])
    assert reader.reads == 1
    waits = [progress.rate_limit_waits for progress in room.told]
    assert waits == sorted(waits)
    assert 1 <= waits[-1] <= 5
    assert room.told[-1].rate_limit_wait_s >= 0.05
    assert len(room.embedder.texts) == len(set(room.embedder.texts))


async def test_an_embedder_that_is_busy_by_itself_is_waited_for_but_is_no_rate_limit(room):
    room.embedder.failures = [Overloaded("Busy.", "EMBEDDER_BUSY", 0.01)]
    await room.run(Reader(pages(2)))
    assert room.told[-1].rate_limit_waits == 0
    assert [trouble.reason for trouble in room.troubles] == ["EMBEDDER_BUSY"]


async def test_a_short_absence_of_the_embedder_is_waited_out(room):
    # The client repeats a refused call by itself; this is more than it tries.
    room.embedder.failures = [Unavailable("Away.", "AWAY") for _ in range(13)]
    reader = Reader(pages(3))
    await room.run(reader)
    check_whole(room.retriever.versions[0])
    assert reader.reads == 1


async def test_what_no_patience_helps_is_raised_at_once(room):
    room.embedder.failures = [InvalidInput("No.", "BAD_TEXT")]
    with pytest.raises(InvalidInput):
        await room.run(Reader(pages(30)))
    assert not room.retriever.versions


async def test_the_reader_stops_when_the_index_is_held(room):
    room.retriever.open.clear()
    reader = Reader(pages(120))
    running = asyncio.create_task(room.run(reader))
    await until(lambda: room.retriever.streams == 1)
    await stands(lambda: (reader.given, room.embedder.calls))
    assert reader.given < 60
    room.retriever.open.set()
    await running
    check_whole(room.retriever.versions[0])


async def test_the_reader_stops_and_few_calls_are_made_when_the_embedder_is_held(room):
    room.embedder.open.clear()
    reader = Reader(pages(120))
    running = asyncio.create_task(room.run(reader))
    await until(lambda: room.embedder.calls > 0)
    await stands(lambda: (reader.given, room.embedder.calls))
    assert reader.given < 30
    assert room.embedder.calls <= 3
    room.embedder.open.set()
    await running
    check_whole(room.retriever.versions[0])


async def test_text_at_hand_does_not_wait_for_a_batch_to_fill(room):
    reader = Reader(pages(2), held=1)
    reader.open.clear()
    running = asyncio.create_task(room.run(reader))
    await until(lambda: any("Page 1 " in text for text in room.embedder.texts))
    await until(lambda: room.told[-1].passages_indexed > 0)
    assert not room.retriever.versions
    reader.open.set()
    await running


async def test_a_document_whose_parser_is_slow_holds_up_no_other(room):
    slots = Slots(1, 1, patience_s=0.01)
    reader = Reader(pages(1))
    reader.open.clear()
    slow = asyncio.create_task(room.run(reader, slots=slots))
    await until(lambda: slots.lent == 1)
    assert await room.run(Reader(pages(2)), upload(accepted_us=18), slots) == 1
    assert not slow.done()
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    assert (slots.working, slots.lent) == (0, 0)


async def test_the_index_hears_who_writes_and_from_what(room):
    metadata = {"kind": "own", "year": 2024.0}
    found = {"kind": "found", "source_author": "Ada", "bad key": "x", "long": "x" * 2_000}
    await room.run(Reader(pages(1), Opening(1, "Found", found)), upload(metadata=metadata, title="Given"))
    header = room.retriever.versions[0].header
    assert (header.accepted_us, header.fence) == (17, 5)
    assert header.fingerprint == fingerprint(upload(metadata=metadata, title="Given"), Sizes(60, 10))
    assert set(header.metadata) == {"kind", "year", "source_author"}
    assert header.metadata["kind"].text == "own"
    assert (room.retriever.versions[0].commit.title, header.title) == ("Given", "Given")


async def test_a_heading_is_embedded_with_the_texts_below_it_and_not_twice_with_the_first(room):
    body = "The pump is checked every week by the leader of the shift. " * 8
    await room.run(Reader([Page(0, f"# Plant\n\n{body}\n\n## Pumps\n\n{body}")], Opening(0, "Plant")))
    check_whole(room.retriever.versions[0])
    beginnings = ("# Plant\n\nThe", "Plant\n", "Plant\n## Pumps\n\nThe", "Plant\nPumps\n")
    for text in room.embedder.texts:
        assert text.startswith(beginnings)
    for beginning in beginnings:
        assert any(text.startswith(beginning) for text in room.embedder.texts)


async def test_unchanged_text_under_the_same_title_is_embedded_as_the_same_text(room):
    await room.run(Reader(pages(4)))
    before = set(room.embedder.texts)
    room.embedder.texts.clear()
    await room.run(Reader([*pages(4), page(5)]), upload(accepted_us=18))
    assert all("Page 5" in text for text in set(room.embedder.texts) - before)
    room.embedder.texts.clear()
    await room.run(Reader(pages(4)), upload(accepted_us=19, title="Another"))
    assert not before & set(room.embedder.texts)


async def test_what_a_document_says_of_itself_leaves_room_for_the_clients_keys(room):
    own = {f"own_{at}": float(at) for at in range(63)}
    found = {f"found_{at}": "x" for at in range(5)}
    await room.run(Reader(pages(1), Opening(1, "", found)), upload(metadata=own))
    assert set(room.retriever.versions[0].header.metadata) == {*own, "found_0"}


async def test_the_index_tells_what_is_live_and_revokes_what_is_not(room):
    index = room.stages.index
    assert await index.live("doc") is None
    await room.run(Reader(pages(1)))
    assert await index.live("doc") == Live(1, fingerprint(upload(), Sizes(60, 10)))
    assert await index.revoke("doc", 17) == 1
    assert await index.revoke("doc", 18) == 0
    with pytest.raises(RagError) as failure:
        await room.run(Reader(pages(1)), upload(accepted_us=18))
    assert failure.value.reason == "VERSION_REVOKED"


@pytest.mark.parametrize("embedder", [Hearing()], ids=["hearing"])
async def test_the_embedder_hears_whose_texts_they_are(room):
    await room.run(Reader(pages(4)))
    assert set(room.embedder.documents) == {"doc"}


async def test_the_vectors_of_a_document_can_be_forgotten(room):
    await room.stages.embedder.forget("doc")
    assert room.embedder.forgotten == ["doc"]


async def test_an_embedder_that_stays_away_is_given_up_after_a_while():
    now = [0.0]
    pauses: list[float] = []

    class Away:
        async def embed(self, document_id, texts) -> Embedded:
            raise Unavailable("Away.", "AWAY")

        async def forget(self, document_id) -> None:
            raise NotImplementedError

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    patient = PatientEmbedder(
        Away(), "doc", lambda _: None, lambda _: None, most_absence_s=60, pause=pause, clock=lambda: now[0]
    )
    with pytest.raises(Unavailable):
        await patient.embed(["text"])
    assert 60 <= now[0] <= 75
    assert max(pauses) <= 15


async def stands(state, looks: int = 15) -> None:
    """Return once the state was the same at so many looks in a row."""
    seen: list[object] = []

    def is_still() -> bool:
        seen.append(state())
        return len(seen) >= looks and len(set(seen[-looks:])) == 1

    await until(is_still)
