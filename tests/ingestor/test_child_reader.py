"""The parser children: what they read, what they refuse, what they die of, and what becomes of the rest."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace

import psutil
import pytest

from rag.runtime.errors import Internal, InvalidInput, Unavailable
from services.ingestor.adapters.child_reader import ChildReader
from services.ingestor.adapters.fork_server import ForkServer
from services.ingestor.frames import ReaderLimits, ReadRequest
from services.ingestor.pages import Opening, Page
from services.ingestor.readers.samples import SAMPLES
from services.ingestor.sniffing import HTML, MARKDOWN, PDF, TEXT
from tests.ingestor.pdfs import pdf
from tests.process_table import arguments, is_alive
from tests.waiting import until

LIMITS = ReaderLimits(memory_bytes=512 << 20, cpu_s=20, cpu_page_s=0.3, cpu_most_s=60, wait_s=60, life_s=60)
HOSTILE = "tests.ingestor.hostile_readers"


@pytest.fixture
async def reader():
    async with ChildReader.open(LIMITS) as opened:
        yield opened


@pytest.fixture
async def hostile():
    async with ForkServer.open(HOSTILE) as server:
        yield ChildReader(server, LIMITS)


@pytest.fixture
def file(tmp_path):
    def write(content: bytes):
        path = tmp_path / "document"
        path.write_bytes(content)
        return path

    return write


@asynccontextmanager
async def limited(hostile, **limits):
    yield ChildReader(hostile._server, replace(LIMITS, **limits))


async def read(reader, path, media_type, password="") -> tuple[Opening, list[Page]]:
    async with reader.read(path, media_type, password) as items:
        opening, *pages = [item async for item in items]
    return opening, pages


async def reason(reader, path, media_type) -> str:
    with pytest.raises(InvalidInput) as caught:
        await read(reader, path, media_type)
    return caught.value.reason


def servers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "readers" in " ".join(arguments(child))]


def children() -> list[psutil.Process]:
    return [child for server in servers() for child in server.children()]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Grüße\r\naus Köln\n".encode(), "Grüße\naus Köln\n"),
        ("\ufeffmit Marke".encode(), "\ufeffmit Marke".lstrip("\ufeff")),
        ("breit 漢字".encode("utf-16"), "breit 漢字"),
        ("ohne Marke, lang genug".encode("utf-16-le"), "ohne Marke, lang genug"),
        (
            "Die Prüfung der Geräte erfolgt jährlich; für größere Schäden haftet der Käufer. ".encode("latin-1") * 5,
            None,
        ),
        ("e\u0301te, a whole sentence\x00".encode(), "\u00e9te, a whole sentence"),
    ],
)
async def test_text_comes_in_any_encoding(reader, file, content, text):
    _, pages = await read(reader, file(content), TEXT)
    found = "".join(page.text for page in pages)
    assert found == text if text is not None else "Prüfung der Geräte" in found


async def test_broken_text_is_named(reader, file):
    content = b"caf\xc3\xa9 and \x81\x8d\x8f\x90\x9d\xff\xfe broken " * 3
    assert await reason(reader, file(content), TEXT) == "BAD_ENCODING"


async def test_markdown_has_its_first_heading_as_title(reader, file):
    opening, pages = await read(reader, file(b"intro\n\n# Pumps #\n\nText *as it is*.\n"), MARKDOWN)
    assert opening.title == "Pumps"
    assert pages == [Page(0, "intro\n\n# Pumps #\n\nText *as it is*.\n")]


async def test_html_gives_its_main_text(reader, file):
    body = "<p>" + "The pump is checked every week by the leader of the shift. " * 8 + "</p>"
    html = f"<html><head><title>Plant</title><script>x=1</script></head><body><nav><a href='/'>Home</a></nav><article><h1>Pumps</h1>{body}<h2>Valves</h2>{body}</article></body></html>"
    opening, pages = await read(reader, file(html.encode()), HTML)
    text = "".join(page.text for page in pages)
    assert opening.title == "Plant"
    assert "## Valves" in text
    assert "x=1" not in text


async def test_html_without_an_article_gives_its_plain_text(reader, file):
    _, pages = await read(reader, file(b"<html><body>Just one line.<script>no</script></body></html>"), HTML)
    assert pages[0].text.strip() == "Just one line."


async def test_what_a_pdf_says_about_itself_comes_through(reader, file):
    opening, pages = await read(reader, file(pdf(title="Handbook", about={"author": "Ada"})), PDF)
    assert (opening.pages_total, opening.title, opening.metadata["source_author"]) == (3, "Handbook", "Ada")
    assert [page.number for page in pages] == [1, 2, 3]


async def test_a_password_opens_a_pdf(reader, file):
    path = file(pdf(password="secret"))
    assert await reason(reader, path, PDF) == "PDF_ENCRYPTED"
    assert len((await read(reader, path, PDF, "secret"))[1]) == 3


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_the_samples_of_our_own_can_be_read(name, file):
    module = importlib.import_module(f"services.ingestor.readers.{name}")
    opening, *pages = module.read(file(SAMPLES[name]))
    assert opening.title == "t"
    assert pages[0].text.strip()


@pytest.mark.parametrize("password", ["wrong", "p" * 1_000_000])
async def test_a_wrong_password_is_named(reader, file, password):
    with pytest.raises(InvalidInput) as caught:
        await read(reader, file(pdf(password="secret")), PDF, password)
    assert caught.value.reason == "PDF_PASSWORD_WRONG"


def test_a_password_is_not_shown_with_its_request():
    assert "secret" not in repr(ReadRequest(PDF, "/a", LIMITS, "secret"))


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("crash", "PARSER_CRASHED"),
        ("error", "PARSER_CRASHED"),
        ("quiet", "PARSER_CRASHED"),
        ("garbage", "PARSER_CRASHED"),
        ("huge", "PARSER_CRASHED"),
        ("stranger", "PARSER_CRASHED"),
        ("hoard", "PARSER_MEMORY"),
    ],
)
async def test_a_parser_that_dies_or_lies_fails_its_document_only(hostile, file, kind, found):
    path = file(b"text")
    assert await reason(hostile, path, kind) == found
    assert (await read(hostile, path, "good"))[1] == [Page(1, "text")]


async def test_a_parser_that_hangs_runs_out_of_time(hostile, file):
    async with limited(hostile, wait_s=1) as reader:
        assert await reason(reader, file(b""), "deaf") == "PARSER_TIMEOUT"
    assert not children()


async def test_a_parser_that_works_for_ever_runs_into_the_cpu_limit(hostile, file):
    async with limited(hostile, cpu_s=1) as reader:
        assert await reason(reader, file(b""), "spin") == "PARSER_TIMEOUT"


async def test_a_life_ends_even_when_nobody_watches(hostile, file):
    async with limited(hostile, life_s=1) as reader:
        assert await reason(reader, file(b""), "deaf") == "PARSER_TIMEOUT"


async def test_a_parser_that_closes_its_output_and_lives_on_is_ended(hostile, file, monkeypatch):
    monkeypatch.setattr("services.ingestor.adapters.child_reader._END_S", 0.2)
    assert await reason(hostile, file(b""), "mute") == "PARSER_CRASHED"
    assert not children()


async def test_the_message_names_the_page_where_it_stopped(hostile, file):
    with pytest.raises(InvalidInput, match="it stopped after page 1"):
        await read(hostile, file(b""), "crash")


@pytest.mark.timeout(600)
async def test_pages_that_are_read_grant_cpu_time(hostile, file):
    path = file(b"")
    async with limited(hostile, cpu_s=1, cpu_page_s=1, life_s=500) as reader:  # others go first on a busy machine
        assert len((await read(reader, path, "work"))[1]) == 8
    async with limited(hostile, cpu_s=1, cpu_page_s=0) as reader:
        assert await reason(reader, path, "work") == "PARSER_TIMEOUT"


async def test_no_grant_goes_beyond_the_most(hostile, file):
    async with limited(hostile, cpu_s=1, cpu_page_s=1, cpu_most_s=2) as reader:
        assert await reason(reader, file(b""), "work") == "PARSER_TIMEOUT"


async def test_a_slow_parser_lets_others_go_first(hostile, file):
    _, pages = await read(hostile, file(b""), "lag")
    assert pages[1].text == "19"
    assert pages[0].text != "19"


async def test_a_child_sees_no_secret_and_nothing_of_others(hostile, file, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    async with ForkServer.open(HOSTILE) as server:
        other = ChildReader(server, LIMITS)
        async with other.read(file(b""), "deaf") as items:
            await anext(items)
            _, (told, files, modules) = await read(other, file(b""), "look", "password-canary")
    assert "canary" not in told.text
    assert "PYTHONPATH" in told.text
    # Nothing, its two pipes, and the folder that it looks at.
    assert [name.split(":")[0] for name in files.text.split()] == ["/dev/null", "pipe", "pipe"]
    assert not {"grpc", "redis", "asyncio"} & set(modules.text.split())


async def test_no_file_can_be_written(hostile, file):
    path = file(b"")
    _, pages = await read(hostile, path, "write")
    assert pages[0].text == "OSError"
    assert not path.with_name("left").exists() or not path.with_name("left").stat().st_size


async def test_a_reader_that_does_not_load_is_not_the_documents_fault(hostile, file):
    with pytest.raises(Internal) as caught:
        await read(hostile, file(b"text"), "no such reader")
    assert caught.value.reason == "READER_BROKEN"
    assert (await read(hostile, file(b"text"), "good"))[1] == [Page(1, "text")]


async def test_a_killed_child_is_a_crash(hostile, file):
    reading = asyncio.create_task(reason(hostile, file(b""), "deaf"))
    await until(lambda: bool(children()))
    os.kill(children()[0].pid, signal.SIGKILL)
    assert await reading == "PARSER_CRASHED"


async def test_a_killed_server_costs_a_retry_and_no_document(hostile, file):
    path = file(b"text")
    async with hostile.read(path, "deaf") as items:
        await anext(items)
        await anext(items)
        orphans = children()
        os.kill(servers()[0].pid, signal.SIGKILL)
        with pytest.raises(Unavailable) as caught:
            await anext(items)
    assert caught.value.reason == "PARSER_RESTARTED"
    await until(lambda: not any(map(is_alive, orphans)))
    assert (await read(hostile, path, "good"))[1] == [Page(1, "text")]
    assert len(servers()) == 1


async def test_leaving_early_leaves_no_child(hostile, file):
    path = file(b"")
    async with hostile.read(path, "deaf") as items:
        await anext(items)
        assert len(children()) == 1
    assert not children()
    task = asyncio.create_task(read(hostile, path, "deaf"))
    await until(lambda: bool(children()))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not children()


async def test_many_documents_are_read_at_once(reader, tmp_path):
    async def one(number: int) -> str:
        path = tmp_path / str(number)
        path.write_text(f"document {number}")
        _, pages = await read(reader, path, TEXT)
        return pages[0].text

    assert await asyncio.gather(*map(one, range(100))) == [f"document {number}" for number in range(100)]
    assert not children()


async def test_nothing_is_left_open(hostile, file):
    path = file(b"text")
    process = psutil.Process()
    await read(hostile, path, "good")
    server = servers()[0]
    before, served = process.num_fds(), server.num_fds()
    for kind in ["good", "crash", "garbage", "quiet", "no such reader"] * 4:
        with pytest.raises(Exception) if kind != "good" else nullcontext():
            await read(hostile, path, kind)
    # Fewer is no leak: what another test left to the garbage collector may have gone meanwhile.
    await until(lambda: process.num_fds() <= before and server.num_fds() <= served)
    await until(lambda: not server.children())


async def test_the_server_ends_with_its_reader(file):
    before = psutil.Process().num_fds()
    async with ChildReader.open(LIMITS) as reader:
        await read(reader, file(b"text"), TEXT)
        (server,) = servers()
    assert not server.is_running()
    await until(lambda: psutil.Process().num_fds() == before)


PARENT = """
import asyncio, sys
from pathlib import Path
from services.ingestor.adapters.child_reader import ChildReader
from services.ingestor.adapters.fork_server import ForkServer
from tests.ingestor.test_child_reader import LIMITS

async def main():
    async with ForkServer.open("tests.ingestor.hostile_readers") as server:
        async with ChildReader(server, LIMITS).read(Path(sys.argv[1]), "deaf") as items:
            await anext(items)
            print("reading", flush=True)
            await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_server_and_children_die_with_a_killed_ingestor(file):
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PARENT, str(file(b""))), stdout=asyncio.subprocess.PIPE
    )
    assert await parent.stdout.readline() == b"reading\n"
    family = psutil.Process(parent.pid).children(recursive=True)
    assert len(family) == 2
    parent.kill()
    await parent.wait()
    await until(lambda: not any(map(is_alive, family)))
