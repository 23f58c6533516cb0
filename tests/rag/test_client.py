from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, closing
from pathlib import Path

import pytest

from rag.client import RagClient
from rag.runtime.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidInput,
    NotFound,
    Overloaded,
    Unauthenticated,
    Unavailable,
)
from rag.v1 import access_pb2
from rag.v1 import gateway_pb2 as door
from rag.v1 import generator_pb2 as generator
from rag.v1 import ingestor_pb2 as pb
from rag.v1 import retriever_pb2 as index
from tests.certificates import self_signed
from tests.cli.gateway import Gateway, running_gateway
from tests.waiting import until

AWAY = Unavailable("The queue is away.", "QUEUE_UNAVAILABLE")


async def at_once(_seconds: float) -> None:
    """A pause that takes no time."""


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with running_gateway() as running:
        yield running


@pytest.fixture
async def rag(gateway: Gateway) -> AsyncIterator[RagClient]:
    async with RagClient(gateway.address, pause=at_once) as client:
        yield client


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.md"
    path.write_text("# A\n" * 100_000)
    return path


async def test_an_upload_carries_all_that_is_said_about_it(gateway: Gateway, rag: RagClient, file: Path) -> None:
    job = await rag.ingest(
        file, document_id="d", title="T", metadata={"year": 2026}, request_id="mine", password="secret"
    )
    [header] = gateway.headers
    assert (header.document_id, header.title, header.request_id, header.password) == ("d", "T", "mine", "secret")
    assert (header.name, header.metadata["year"].number) == ("a.md", 2026)
    assert gateway.contents == [file.read_bytes()]
    assert job.state == pb.JOB_STATE_QUEUED


async def test_an_upload_is_repeated_while_the_server_is_away(gateway: Gateway, rag: RagClient, file: Path) -> None:
    gateway.refusals = [AWAY, Overloaded("Too much.", "TOO_MANY_CALLS", 0.01), AWAY]
    await rag.ingest(file)
    assert gateway.contents == [file.read_bytes()]


async def test_an_upload_is_given_up_in_the_end(gateway: Gateway, rag: RagClient, file: Path) -> None:
    gateway.refusals = [AWAY] * 100
    with pytest.raises(Unavailable, match="queue is away"):
        await rag.ingest(file)
    assert 90 < len(gateway.refusals) < 100


async def test_what_is_wrong_with_the_upload_itself_is_not_repeated(
    gateway: Gateway, rag: RagClient, file: Path
) -> None:
    gateway.refusals = [InvalidInput("It is a JPEG.", "UNSUPPORTED_TYPE")] * 2
    with pytest.raises(InvalidInput):
        await rag.ingest(file)
    assert len(gateway.refusals) == 1


async def test_a_lost_answer_makes_no_second_job(gateway: Gateway, rag: RagClient, file: Path) -> None:
    gateway.lose_answers = 2
    job = await rag.ingest(file)
    assert list(gateway.jobs) == [job.id]
    assert len({header.request_id for header in gateway.headers}) == 1
    again = await rag.ingest(file)
    assert again.id != job.id


async def test_a_file_that_cannot_be_read_is_said_so(rag: RagClient, tmp_path: Path, gateway: Gateway) -> None:
    with pytest.raises(FileNotFoundError):
        await rag.ingest(tmp_path / "none.txt")
    assert not gateway.jobs


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file whose reading fails")
async def test_a_file_that_fails_half_way_leaves_no_job(rag: RagClient, gateway: Gateway) -> None:
    with pytest.raises(OSError, match="Input/output error"):
        await rag.ingest(Path("/proc/self/mem"))
    assert not gateway.jobs


async def test_a_name_that_is_no_text_is_sent_as_text(rag: RagClient, tmp_path: Path, gateway: Gateway) -> None:
    path = tmp_path / "caf\udce9.txt"
    path.write_text("x")
    await rag.ingest(path)
    assert gateway.headers[0].name == "caf?.txt"


async def test_a_text_and_a_url_are_ingested_too(rag: RagClient, gateway: Gateway) -> None:
    await rag.ingest_text("Grüße", "note.md", document_id="note", metadata={"team": "ops"})
    await rag.ingest_url("https://example.org/a.html", title="A")
    assert gateway.contents[0] == "Grüße".encode()
    assert [header.name for header in gateway.headers] == ["note.md", "a.html"]
    assert gateway.urls == ["https://example.org/a.html"]
    assert all(header.request_id for header in gateway.headers)


async def test_a_watch_that_breaks_off_goes_on_after_its_last_event(rag: RagClient, gateway: Gateway) -> None:
    job = await rag.ingest_text("x", "x.txt")
    gateway.break_watches = 3
    seen = [event.sequence async for event in rag.watch(job.id)]
    assert seen == list(range(1, len(gateway.events[job.id]) + 1))
    assert [event.sequence async for event in rag.watch(job.id, 3)] == seen[3:]


async def test_a_watch_gives_up_when_nothing_comes_any_more(rag: RagClient, gateway: Gateway) -> None:
    gateway.jobs["away"] = pb.Job(id="away")
    gateway.events["away"] = []
    gateway.unwatchable = True
    with pytest.raises(Unavailable):
        [event async for event in rag.watch("away")]


async def test_jobs_are_listed_over_all_pages_and_by_state(rag: RagClient, gateway: Gateway) -> None:
    ids = [(await rag.ingest_text(str(n), f"{n}.txt")).id for n in range(5)]
    gateway.jobs[ids[1]].state = gateway.jobs[ids[3]].state = pb.JOB_STATE_DEAD
    assert [job.id async for job in rag.jobs()] == ids[::-1]
    assert [job.id async for job in rag.jobs(pb.JOB_STATE_DEAD)] == [ids[3], ids[1]]
    assert (await rag.job(ids[0])).name == "0.txt"


async def test_a_job_is_cancelled_and_retried(rag: RagClient, gateway: Gateway) -> None:
    job = await rag.ingest_text("x", "x.txt")
    with pytest.raises(FailedPrecondition):
        await rag.retry(job.id)
    gateway.jobs[job.id].state = pb.JOB_STATE_FAILED
    assert (await rag.retry(job.id, "secret")).state == pb.JOB_STATE_QUEUED
    assert gateway.passwords == ["secret"]
    assert (await rag.cancel(job.id)).state == pb.JOB_STATE_CANCELLED


async def test_documents_and_passages_are_read_and_deleted(rag: RagClient, gateway: Gateway) -> None:
    for n in range(3):
        job = await rag.ingest_text(str(n), f"{n}.txt", document_id=f"d{n}")
        [event async for event in rag.watch(job.id)]
    assert sorted([document.id async for document in rag.documents()]) == ["d0", "d1", "d2"]
    assert (await rag.document("d1")).name == "1.txt"
    assert [passage.id async for passage in rag.passages("d1")] == [f"p-{n}" for n in range(5)]
    await rag.delete("d1")
    with pytest.raises(NotFound):
        await rag.document("d1")


async def test_search_tells_the_scores_of_both_legs(rag: RagClient, gateway: Gateway) -> None:
    gateway.hits = [index.Hit(rank=1, score=0.9, dense_score=0.8, keyword_score=3.0)]
    [hit] = await rag.search("q", top_k=3, mode=index.RETRIEVAL_MODE_DENSE, min_score=0.25, per_document=2)
    assert (hit.dense_score, hit.keyword_score) == (pytest.approx(0.8), 3.0)
    [request] = gateway.searches
    assert (request.top_k, request.mode, request.min_score, request.per_document) == (
        3,
        index.RETRIEVAL_MODE_DENSE,
        0.25,
        2,
    )


async def test_an_answer_is_streamed_in_order_and_leaving_it_stops_it(rag: RagClient, gateway: Gateway) -> None:
    gateway.script = [
        generator.GenerateResponse(accepted=generator.Accepted(answer_id="a")),
        generator.GenerateResponse(token=generator.Token(text="x")),
        generator.GenerateResponse(done=generator.Done(finish_reason=generator.FINISH_REASON_STOP)),
    ]
    history = [generator.Turn(role=generator.ROLE_USER, text="before")]
    events = [event async for event in rag.ask("q", history=history, temperature=0.5, max_tokens=9)]
    assert [event.WhichOneof("event") for event in events] == ["accepted", "token", "done"]
    assert (gateway.questions[0].max_tokens, gateway.questions[0].history[0].text) == (9, "before")
    gateway.hold_answer = asyncio.Event()
    async with aclosing(rag.ask("left")) as left:
        assert (await anext(left)).HasField("accepted")
    await until(lambda: gateway.left == ["left"])


async def test_an_answer_that_began_is_not_asked_for_again(rag: RagClient, gateway: Gateway) -> None:
    gateway.script = [generator.GenerateResponse(token=generator.Token(text="x")), AWAY]
    async with aclosing(rag.ask("q")) as events:
        assert (await anext(events)).token.text == "x"
        with pytest.raises(Unavailable):
            await anext(events)
    assert len(gateway.questions) == 1


async def test_what_may_be_repeated_is_and_a_key_is_made_once(rag: RagClient, gateway: Gateway) -> None:
    gateway.usage = door.GetUsageResponse(tenant="t")
    gateway.unavailable = 2
    assert (await rag.usage()).tenant == "t"
    gateway.unavailable = 1
    with pytest.raises(Unavailable):
        await rag.create_key("k", [access_pb2.SCOPE_QUERY])
    assert len(gateway.keys) == 1
    assert (await rag.create_key("k", [access_pb2.SCOPE_QUERY], ttl_s=60)).secret == "rmk_once"
    assert [key.id for key in await rag.keys()] == ["key-1", "key-1"]
    assert (await rag.revoke_key("key-1")).id == "key-1"
    assert (await rag.forget_cached()).answers == 3


async def test_answers_are_rated_and_ratings_listed_over_all_pages(rag: RagClient, gateway: Gateway) -> None:
    for n in range(5):
        await rag.rate(f"a{n}", door.RATING_DOWN if n % 2 else door.RATING_UP, "why")
    assert gateway.ratings[0].comment == "why"
    assert [said.answer_id async for said in rag.feedback()] == [f"a{n}" for n in range(5)]
    assert [said.answer_id async for said in rag.feedback(door.RATING_DOWN)] == ["a1", "a3"]


async def test_the_key_goes_along_with_every_call(gateway: Gateway) -> None:
    gateway.key = "rmk_secret"
    async with RagClient(gateway.address, "rmk_secret\n") as rag:
        assert not [document async for document in rag.documents()]
        await rag.usage()
    assert set(gateway.authorizations) == {"Bearer rmk_secret"}
    async with RagClient(gateway.address, "rmk_other") as stranger:
        with pytest.raises(Unauthenticated):
            await stranger.usage()


async def test_over_tls_the_authority_is_the_one_that_was_given(tmp_path: Path) -> None:
    key, certificate = self_signed()
    (tmp_path / "ca.pem").write_bytes(certificate)
    async with running_gateway(certificate=(key, certificate), key="k") as gateway:
        port = gateway.address.rpartition(":")[2]
        async with RagClient(f"https://localhost:{port}", "k", authority_file=tmp_path / "ca.pem") as rag:
            await rag.usage()
        async with RagClient(f"https://localhost:{port}", "k", timeout_s=2) as doubting:
            with pytest.raises((Unavailable, DeadlineExceeded)):
                await doubting.usage()


@asynccontextmanager
async def long_way(port: int, delay_s: float) -> AsyncIterator[int]:
    """A port that leads to another one; what comes back is late."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, late_s: float) -> None:
        with closing(writer):
            while part := await reader.read(65_536):
                await asyncio.sleep(late_s)
                writer.write(part)

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(relay(reader, there_writer, 0), relay(there_reader, writer, delay_s))

    async with await asyncio.start_server(lead, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_a_gateway_that_is_far_away_or_busy_is_reached(gateway: Gateway) -> None:
    async with long_way(int(gateway.address.rpartition(":")[2]), 0.4) as port, RagClient(f"127.0.0.1:{port}") as rag:
        await rag.rate("a1", door.RATING_UP)
    assert len(gateway.ratings) == 1


@pytest.mark.parametrize("address", ["10.0.0.7:50050", "rag.example.org:50050", "dns:///rag.example.org:50050"])
def test_a_key_is_not_sent_in_plain_text_to_another_machine(address: str) -> None:
    with pytest.raises(FailedPrecondition, match="unencrypted") as refused:
        RagClient(address, "rmk_secret")
    assert "rmk_secret" not in str(refused.value)
    RagClient(address)


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("https://rag.example.org", "rag.example.org:443"),
        ("https://rag.example.org:8443/", "rag.example.org:8443"),
        ("http://10.0.0.7:50050", "10.0.0.7:50050"),
        ("http://proxy", "proxy:80"),
        ("127.0.0.1:50050", "127.0.0.1:50050"),
        ("[::1]:50050", "[::1]:50050"),
        ("localhost:1", "localhost:1"),
        ("unix:/run/rag.sock", "unix:/run/rag.sock"),
    ],
)
def test_where_a_key_may_go(address: str, target: str) -> None:
    assert RagClient(address, "rmk_secret").address == target


@pytest.mark.parametrize(
    ("address", "key", "reason"),
    [
        ("a b", "", "BAD_ADDRESS"),
        ("ftp://x/y", "", "BAD_ADDRESS"),
        ("", "", "BAD_ADDRESS"),
        ("localhost:1", "naïve", "BAD_KEY"),
        ("localhost:1", "two words", "BAD_KEY"),
        ("localhost:1", "line\nbreak", "BAD_KEY"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_anything_is(address: str, key: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        RagClient(address, key)
    assert refused.value.reason == reason


def test_a_missing_file_of_authorities_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match=r"none\.pem"):
        RagClient("https://x", authority_file=tmp_path / "none.pem")


def test_a_client_imports_nothing_that_services_sign_and_are_set_by() -> None:
    found = "import sys, rag.client; sys.exit(bool({'jwt', 'pydantic_settings'} & sys.modules.keys()))"
    subprocess.run([sys.executable, "-c", found], check=True)
