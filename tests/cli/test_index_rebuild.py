"""`ragmesh index show`, `rebuild`, `rollback` and `cancel`, at a real retriever."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from rag.runtime.settings import child_environment
from tests.cli.conftest import ROOT, Done
from tests.retriever.room import embedder, fresh_database, retriever
from tests.waiting import until

Ragmesh = Callable[..., Awaitable[Done]]


@pytest.fixture
async def index(redis_url: str, tmp_path: Path) -> AsyncIterator[Ragmesh]:
    """The command, with a retriever that holds some documents of the tenant `default`."""

    async def ragmesh(*words: str) -> Done:
        command = ["-m", "rag.cli", "index", *words, "--retriever", room.address]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            env=child_environment(PYTHONPATH=str(ROOT)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return Done(process.returncode or 0, out.decode(), err.decode())

    async with embedder() as embedder_port:
        database = await fresh_database(redis_url)
        async with retriever(tmp_path, database, embedder_port) as room:
            await until(room.room.is_ready)
            for number in range(3):
                await room.index("default", f"d{number}", [f"water {number} {n}" for n in range(10)])
            yield ragmesh


async def test_an_index_is_shown_rebuilt_and_rolled_back(index: Ragmesh, tmp_path: Path) -> None:
    shown = await index("show")
    assert shown.code == 0, shown
    assert "live" in shown.out
    assert "words@r1 (32)" in shown.out
    assert "3 documents with 30 passages" in shown.out

    assert "NOT_NEEDED" in (await index("rebuild", "--json")).out
    labelled = tmp_path / "labelled.jsonl"
    labelled.write_text('{"query": "water", "document_ids": ["d0", "d1", "d2"]}\n')
    built = await index("rebuild", "--analyzer", "plain", "--labelled", str(labelled), "--json")
    assert built.code == 0, built
    events = [json.loads(text) for text in built.out.splitlines()]
    assert events[-1]["result"]["switched"] is True
    assert events[-2]["comparison"]["labelled"] == 1
    assert "plain" in (await index("show")).out

    back = await index("rollback")
    assert (back.code, "is live again" in back.out) == (0, True), back
    assert json.loads((await index("show", "--json")).out)["live"]["analyzer"] == "multilingual"


async def test_a_refusal_has_exit_code_1_and_a_sentence(index: Ragmesh, tmp_path: Path) -> None:
    done = await index("cancel")
    assert (done.code, "NO_REBUILD" in done.err) == (1, True), done
    done = await index("rebuild", "--analyzer", "klingon")
    assert (done.code, "BAD_ANALYZER" in done.err) == (1, True), done
    labelled = tmp_path / "labelled.jsonl"
    labelled.write_text('\n{"query": "water"}\n')
    done = await index("rebuild", "--labelled", str(labelled))
    assert (done.code, "Line 2" in done.err) == (1, True), done
