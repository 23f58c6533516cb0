"""One question answered end to end: a real PDF, real services, a real index, a real model, over every wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx
import pytest

from rag.client import RagClient
from rag.v1 import ingestor_pb2
from tests.system.processes import ROOT, Tree
from tests.system.reflecting import ReflectingClient
from tests.system.sse import Event, events

HANDBOOK = ROOT / "examples" / "handbook.pdf"
QUESTION = "What happens to a job when its worker dies?"
PUBLIC = {
    "rag.v1.EmbedderService",
    "rag.v1.GeneratorService",
    "rag.v1.IngestorService",
    "rag.v1.RetrieverService",
    "grpc.health.v1.Health",
}


@pytest.fixture
async def http(tree: Tree) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=tree.url, timeout=60) as client:
        yield client


async def upload(http: httpx.AsyncClient, path: Path, **fields: str) -> dict[str, Any]:
    response = await http.post("/v1/documents", files={"file": (path.name, path.read_bytes())}, data=fields)
    assert response.status_code == 202, response.text
    job: dict[str, Any] = response.json()
    return job


async def follow(http: httpx.AsyncClient, job_id: str, **headers: str) -> list[Event]:
    async with http.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as response:
        assert response.status_code == 200
        return [event async for event in events(response)]


async def ask(http: httpx.AsyncClient, question: str) -> list[Event]:
    async with http.stream("POST", "/v1/query", json={"question": question, "stream": True}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        return [event async for event in events(response)]


@pytest.fixture
async def handbook(http: httpx.AsyncClient) -> str:
    job = await upload(http, HANDBOOK)
    last = (await follow(http, job["id"]))[-1]
    assert last.data["job"]["state"] == "ready", last
    document_id: str = job["document_id"]
    return document_id


async def test_a_pdf_becomes_a_cited_answer_in_the_order_of_the_contract(
    http: httpx.AsyncClient, handbook: str
) -> None:
    answer = await ask(http, QUESTION)
    names = [event.name for event in answer]
    assert [event.id for event in answer] == [str(number) for number in range(1, len(answer) + 1)]
    assert names[0] == "accepted"
    assert names[-2:] == ["usage", "done"]
    assert names.count("sources") == 1
    assert set(names[1 : names.index("sources")]) == {"progress"}
    assert names.index("sources") < names.index("token") < names.index("citation")
    assert answer[-1].data["finish_reason"] == "stop"


async def test_every_citation_can_be_checked(http: httpx.AsyncClient, handbook: str) -> None:
    answer = await ask(http, QUESTION)
    text = "".join(event.data["text"] for event in answer if event.name == "token")
    (sources,) = [event.data["sources"] for event in answer if event.name == "sources"]
    citations = [event.data for event in answer if event.name == "citation"]
    assert citations
    for citation in citations:
        assert text[citation["char_start"] : citation["char_end"]].strip("[], ").replace(" ", "")
        (source,) = [source for source in sources if source["number"] == citation["number"]]
        passage = source["passage"]
        assert (citation["passage_id"], citation["page"]) == (passage["id"], passage["page"])
        start, end = (citation[key] - passage["char_start"] for key in ("quote_start", "quote_end"))
        assert passage["text"][start:end] == citation["quote"]
        listed = (await http.get(f"/v1/documents/{passage['document_id']}/passages", params={"page_size": 500})).json()
        assert passage["id"] in {each["id"] for each in listed["passages"]}


async def test_a_client_that_knows_only_the_address_sees_the_same_events(
    http: httpx.AsyncClient, handbook: str, tree: Tree
) -> None:
    client = ReflectingClient(tree.address)
    assert client.services() >= PUBLIC
    over_grpc = [event async for event in client.stream("rag.v1.GeneratorService", "Generate", {"question": QUESTION})]
    over_sse = await ask(http, QUESTION)
    kinds = [next(key for key in event if key != "sequence") for event in over_grpc]
    assert [kind for kind, _ in groupby(kinds)] == [kind for kind, _ in groupby(event.name for event in over_sse)]
    assert "".join(event["token"]["text"] for event in over_grpc if "token" in event) == "".join(
        event.data["text"] for event in over_sse if event.name == "token"
    )
    cited = [event["citation"]["quote"] for event in over_grpc if "citation" in event]
    assert cited == [event.data["quote"] for event in over_sse if event.name == "citation"]


async def test_the_answer_as_one_json_is_the_collection_of_its_events(http: httpx.AsyncClient, handbook: str) -> None:
    whole = (await http.post("/v1/query", json={"question": QUESTION})).json()
    streamed = await ask(http, QUESTION)
    assert whole["answer"] == "".join(event.data["text"] for event in streamed if event.name == "token")
    assert [c["quote"] for c in whole["citations"]] == [e.data["quote"] for e in streamed if e.name == "citation"]
    assert whole["usage"]["provider"] == "extractive"


async def test_progress_resumes_after_the_last_event_seen(http: httpx.AsyncClient) -> None:
    job = await upload(http, ROOT / "README.md")
    everything = await follow(http, job["id"])
    assert [int(event.id) for event in everything] == list(range(1, len(everything) + 1))
    rest = await follow(http, job["id"], **{"Last-Event-ID": everything[0].id})
    assert rest == everything[1:]


async def test_what_was_deleted_is_found_no_more(http: httpx.AsyncClient, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("The quokka of Rottnest Island guards the spare key of the lighthouse.")
    job = await upload(http, note, document_id="quokka")
    await follow(http, job["id"])
    found = (
        await http.post("/v1/search", json={"query": "Where is the quokka?", "filter": {"document_ids": ["quokka"]}})
    ).json()
    assert [hit["passage"]["document_id"] for hit in found["hits"]] == ["quokka"]
    assert (await http.delete("/v1/documents/quokka")).status_code == 204
    found = (await http.post("/v1/search", json={"query": "quokka lighthouse"})).json()
    assert "quokka" not in {hit["passage"]["document_id"] for hit in found["hits"]}
    gone = await http.get("/v1/documents/quokka")
    assert (gone.status_code, gone.json()["reason"]) == (404, "DOCUMENT_NOT_FOUND")


async def test_a_new_version_replaces_the_old_one(http: httpx.AsyncClient, tmp_path: Path) -> None:
    note = tmp_path / "limits.md"
    for text in ("# Limits\n\nThe zeppelin carries 12 passengers.", "# Limits\n\nThe zeppelin carries 20 passengers."):
        note.write_text(text)
        job = await upload(http, note, document_id="limits")
        await follow(http, job["id"])
    found = (
        await http.post("/v1/search", json={"query": "zeppelin passengers", "filter": {"document_ids": ["limits"]}})
    ).json()
    assert ["20 passengers" in hit["passage"]["text"] for hit in found["hits"]] == [True]


async def test_a_question_without_an_answer_is_told_so(http: httpx.AsyncClient, handbook: str) -> None:
    answer = (await http.post("/v1/query", json={"question": "Wie kocht man Zwetschgenknödel?"})).json()
    assert answer["finish_reason"] == "no_context"
    assert answer["sources"] == []
    assert answer["usage"]["output_tokens"] == 0


async def test_the_python_client_does_it_all(tree: Tree) -> None:
    async with RagClient(tree.address) as rag:
        job = await rag.ingest(ROOT / "CONTRIBUTING.md", metadata={"year": 2026, "kind": "guide"})
        last = [event.job async for event in rag.watch(job.id)][-1]
        assert last.state == ingestor_pb2.JOB_STATE_READY
        assert job.document_id in {document.id async for document in rag.documents()}
        assert await rag.search("Where does a change go?")
        answer = [event async for event in rag.ask("Which command is what CI runs?")]
        assert answer[-1].HasField("done")
        await rag.delete(job.document_id)
        assert job.document_id not in {document.id async for document in rag.documents()}
