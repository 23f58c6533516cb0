"""What hostile and very long documents cost: CPU time, memory, and the time of others."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from rag.runtime.errors import InvalidInput
from services.ingestor.adapters.child_reader import ChildReader
from services.ingestor.adapters.fork_server import ForkServer
from services.ingestor.frames import ReaderLimits
from services.ingestor.pages import Opening, Page
from services.ingestor.settings import IngestorSettings
from services.ingestor.sniffing import PDF, TEXT
from tests.ingestor import pdfs
from tests.process_table import arguments

pytestmark = pytest.mark.timeout(600)  # on a busy machine readers of documents go last

MB = 1_000_000
SETTINGS = IngestorSettings(_env_file=None)
LIMITS = ReaderLimits(
    memory_bytes=SETTINGS.parser_memory_bytes,
    cpu_s=SETTINGS.parser_cpu_s,
    cpu_page_s=SETTINGS.parser_cpu_page_s,
    cpu_most_s=SETTINGS.parser_cpu_most_s,
    wait_s=SETTINGS.parser_wait_s,
    life_s=600,
)
BOMBS = [pdfs.flate_bomb, pdfs.double_flate_bomb, pdfs.operators_bomb, pdfs.shared_stream_bomb]


@pytest.fixture
async def reader():
    async with ChildReader.open(LIMITS) as opened:
        yield opened


async def failure(reader: ChildReader, path: Path) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        await read(reader, path)
    return caught.value


async def read(reader: ChildReader, path: Path) -> list[Opening | Page]:
    async with reader.read(path, PDF) as items:
        return [item async for item in items]


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_the_limits_are_those_that_hold_hostile_documents():
    assert LIMITS.memory_bytes <= 512 << 20
    assert LIMITS.cpu_s <= 10


@pytest.mark.parametrize("bomb", BOMBS)
async def test_a_bomb_ends_with_its_cause(reader, tmp_path, bomb):
    content = bomb()
    assert len(content) < 500_000
    error = await failure(reader, written(tmp_path, "bomb", content))
    assert error.reason == "PDF_LIMIT"
    assert "than is allowed" in error.message


async def test_a_bomb_that_looks_honest_runs_into_the_cpu_limit(tmp_path):
    path = written(tmp_path, "bomb", pdfs.partly_shared_stream_bomb())
    async with ChildReader.open(replace(LIMITS, cpu_s=2, cpu_page_s=0.02)) as reader:
        error = await failure(reader, path)
    assert error.reason == "PARSER_TIMEOUT"


async def test_others_are_read_while_bombs_burn(reader, tmp_path):
    small = written(tmp_path, "small", b"a short text")

    async def read_small() -> None:
        async with reader.read(small, TEXT) as items:
            assert [item async for item in items][1:] == [Page(0, "a short text")]

    paths = [written(tmp_path, f"bomb-{number}", bomb()) for number, bomb in enumerate(BOMBS)]
    burning = [asyncio.create_task(failure(reader, path)) for path in paths]
    while not all(task.done() for task in burning):
        await asyncio.wait_for(read_small(), 20)
    assert {(await task).reason for task in burning} == {"PDF_LIMIT"}


async def test_memory_does_not_grow_with_the_document(tmp_path):
    short, long = [written(tmp_path, str(pages), pdfs.pdf(pages, lines=40)) for pages in (400, 2_000)]
    async with ForkServer.open() as server:
        reader = ChildReader(server, LIMITS)
        # What is loaded on the first use is no growth.
        await read(reader, short)
        few, many = await _peaks(reader, short, 400), await _peaks(reader, long, 2_000)
    for name in few:
        assert few[name]
        assert many[name] - few[name] < 30 * MB, name


async def _peaks(reader: ChildReader, path: Path, pages: int) -> dict[str, int]:
    """The most that each process held while the document was read, in bytes."""
    most = {"ingestor": 0, "server": 0, "child": 0}
    async with reader.read(path, PDF) as items:
        async for item in items:
            # The child may be some pages ahead, and has ended after the last.
            if isinstance(item, Page) and item.number % 50 == 0 and item.number <= pages - 100:
                server = next(
                    one for one in psutil.Process().children() if "services.ingestor.readers" in arguments(one)
                )
                child, *_ = server.children() or [None]
                if child is None:
                    continue
                now = {"ingestor": psutil.Process().memory_info().rss, "server": _peak(server), "child": _peak(child)}
                most = {name: max(most[name], now[name]) for name in most}
    return most


def _peak(process: psutil.Process) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    return int(found[1]) * 1024
