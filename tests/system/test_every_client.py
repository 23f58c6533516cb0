"""Clients that share no code with us each get a cited answer as a stream: Node, curl, and one that only knows reflection."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rag.client import RagClient
from rag.v1 import ingestor_pb2
from tests.node import installed
from tests.system.processes import Tree
from tests.system.reflecting import ReflectingClient

FACT = "The harbour of Eastport closes at nine in the evening."
QUESTION = "When does the harbour of Eastport close?"
ORDER = ["accepted", "sources", "token", "citation", "usage", "done"]


@pytest.fixture
async def document(tree: Tree) -> AsyncIterator[str]:
    async with RagClient(tree.address) as rag:
        job = await rag.ingest_text(f"{FACT} The ferry leaves at six.", "harbour.txt", document_id="harbour")
        states = [event.job.state async for event in rag.watch(job.id)]
        assert states[-1] == ingestor_pb2.JOB_STATE_READY
        yield job.document_id
        await rag.delete(job.document_id)


def firsts(names: list[str]) -> list[str]:
    """The events that every cited answer has, in the order of their first."""
    return [name for name in dict.fromkeys(names) if name in ORDER]


@pytest.mark.timeout(300)
async def test_node(tree: Tree, document: str, tmp_path: Path) -> None:
    code, out, err = await installed(tmp_path).ask(QUESTION, tree.address)
    assert code == 0, err
    answer, _, cited = out.strip().partition("\n\n")
    assert re.search(r"nine in the evening.*\[1\]", answer, re.DOTALL)
    assert re.search(r'^\[1\] harbour.*nine in the evening.*"$', cited, re.MULTILINE)


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
async def test_curl(tree: Tree, document: str) -> None:
    body = json.dumps({"question": QUESTION, "stream": True, "use_cache": False})
    words = ["curl", "-sSN", "-m", "60", f"{tree.url}/v1/query", "-H", "content-type: application/json", "-d", body]
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    seen = [line.decode().rstrip() async for line in process.stdout]
    assert await process.wait() == 0
    names = [line.removeprefix("event: ") for line in seen if line.startswith("event: ")]
    assert firsts(names) == ORDER
    data = [json.loads(line.removeprefix("data: ")) for line in seen if line.startswith("data: ")]
    [cited, *_] = [each for name, each in zip(names, data, strict=True) if name == "citation"]
    assert "nine in the evening" in cited["quote"]


async def test_a_client_that_knows_nothing_but_reflection(tree: Tree, document: str) -> None:
    client = await asyncio.to_thread(ReflectingClient, tree.address)
    request = {"question": QUESTION, "use_cache": False}
    events = [event async for event in client.stream("rag.v1.GeneratorService", "Generate", request)]
    assert firsts([next(iter(event.keys() - {"sequence"})) for event in events]) == ORDER
    [cited, *_] = [event["citation"] for event in events if "citation" in event]
    assert "nine in the evening" in cited["quote"]
