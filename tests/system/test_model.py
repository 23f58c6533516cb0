"""A language model behind the whole mesh: its answers stream through, and a reader who leaves stops it."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from rag.client import RagClient
from rag.runtime.errors import TooLarge
from rag.v1 import ingestor_pb2
from tests.doubles.fixtures import ModelServer
from tests.system.processes import Tree, running_tree
from tests.system.sse import events

LIMIT = 1_000_000
FOREVER = {"deltas": ["word "] * 10_000, "delay_ms": 20}


@pytest.fixture(scope="module")
def mesh(models: Path, model_server: ModelServer) -> Iterator[Tree]:
    settings = {"OPENAI_BASE_URL": model_server.base_url, "INGESTOR_MAX_UPLOAD_BYTES": str(LIMIT)}
    with tempfile.TemporaryDirectory(prefix="rag") as folder, running_tree(Path(folder), models, **settings) as running:
        yield running


@pytest.fixture
async def http(mesh: Tree, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    note = tmp_path / "harbour.txt"
    note.write_text("The harbour of Eastport closes at nine in the evening. The ferry leaves at six.")
    async with RagClient(mesh.address) as rag:
        job = await rag.ingest(note)
        assert [event.job.state async for event in rag.watch(job.id)][-1] == ingestor_pb2.JOB_STATE_READY
    async with httpx.AsyncClient(base_url=mesh.url, timeout=60) as client:
        yield client


async def test_the_answer_of_a_model_streams_through_with_its_citation(
    http: httpx.AsyncClient, model_server: ModelServer
) -> None:
    model_server.script(deltas=["It closes ", "at nine [", "1", "]. And [7] never."])
    body = {"question": "When does the harbour close?", "use_cache": False, "stream": True}
    async with http.stream("POST", "/v1/query", json=body) as response:
        answer = [event async for event in events(response)]
    text = "".join(event.data["text"] for event in answer if event.name == "token")
    assert text == "It closes at nine [1]. And never."
    (citation,) = [event.data for event in answer if event.name == "citation"]
    assert text[citation["char_start"] : citation["char_end"]] == "[1]"
    assert citation["quote"] == "The harbour of Eastport closes at nine in the evening."
    usage = next(event.data for event in answer if event.name == "usage")
    assert (usage["provider"], usage["output_tokens"] > 0, usage["estimated"]) == ("openai", True, False)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_reader_who_leaves_stops_the_model(
    mesh: Tree, http: httpx.AsyncClient, model_server: ModelServer, stream: bool
) -> None:
    model_server.script(**FOREVER)
    body = {"question": "When does the harbour close?", "use_cache": False, "stream": stream}
    async with httpx.AsyncClient(base_url=mesh.url, timeout=60) as reader:
        request = reader.build_request("POST", "/v1/query", json=body)
        if stream:
            response = await reader.send(request, stream=True)
            async for event in events(response):
                if event.name == "token":
                    break
            await response.aclose()
        else:
            with pytest.raises(httpx.ReadTimeout):
                await reader.post("/v1/query", json=body, timeout=httpx.Timeout(60, read=1.0))
    left = await model_server.wait_disconnect()
    assert left["chunks"] < 10_000


async def test_a_model_that_fails_before_its_first_word_is_replaced_and_that_is_said(
    http: httpx.AsyncClient, model_server: ModelServer
) -> None:
    model_server.script(status=500, times=None)
    answer = (
        await http.post("/v1/query", json={"question": "When does the harbour close?", "use_cache": False})
    ).json()
    assert "nine in the evening" in answer["answer"]
    assert [notice["code"] for notice in answer["notices"]] == ["FALLBACK_EXTRACTIVE"]
    assert answer["usage"]["provider"] == "extractive"


async def test_a_stream_that_dies_does_not_look_complete(http: httpx.AsyncClient, model_server: ModelServer) -> None:
    model_server.script(deltas=["It ", "closes ", "at ", "nine."], reset_after=2)
    body = {"question": "When does the harbour close?", "use_cache": False, "stream": True}
    async with http.stream("POST", "/v1/query", json=body) as response:
        names = [event.name async for event in events(response)]
    assert names[-1] == "error"
    assert "done" not in names


async def test_an_upload_over_the_limit(mesh: Tree, http: httpx.AsyncClient, tmp_path: Path) -> None:
    large = tmp_path / "large.txt"
    large.write_text("A line that is repeated. " * (LIMIT // 5))
    refused = await http.post("/v1/documents", files={"file": ("large.txt", large.read_bytes())})
    assert (refused.status_code, refused.json()["reason"]) == (413, "UPLOAD_TOO_LARGE")
    async with RagClient(mesh.address) as rag:
        with pytest.raises(TooLarge) as raised:
            await rag.ingest(large)
    assert raised.value.reason == "UPLOAD_TOO_LARGE"
