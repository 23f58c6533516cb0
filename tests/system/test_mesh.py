"""A tree whose services know each other by a secret and by certificates: who lacks either is refused at the inner ports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from rag.access.api_key import new_key
from rag.cli.own_services import free_ports
from rag.client import RagClient
from rag.ids import new_id
from rag.runtime import context
from rag.runtime.errors import RagError, Unavailable
from rag.runtime.mesh import Mesh, Tls
from rag.runtime.peers import open_peer
from rag.v1 import ingestor_pb2, retriever_pb2
from rag.v1.retriever_pb2_grpc import RetrieverServiceStub
from tests.certificates import for_mesh
from tests.doubles.fixtures import ModelServer
from tests.system.door import SECRET as JWT_SECRET
from tests.system.door import Door, open_door
from tests.system.processes import ROOT, Tree, running_tree

SECRET = "a secret of all services that nobody else has"
MODEL_KEY = "sk-canary-of-the-language-model"
FACT = "The harbour of Eastport closes at nine in the evening."
QUESTION = "When does the harbour of Eastport close?"
DATASET = ROOT / "examples" / "eval" / "handbook-spans"
INNER = ("embedder", "retriever", "generator", "ingestor")


@dataclass(frozen=True, slots=True)
class Guarded:
    """A tree, a gateway in front of it that asks for keys, and the settings of both."""

    tree: Tree
    door: Door
    settings: dict[str, str]
    metrics_ports: list[int]

    def logs(self) -> str:
        return self.tree.log.read_text() + self.door.log.read_text()


@pytest.fixture(scope="module")
def guarded(models: Path, model_server: ModelServer) -> Iterator[Guarded]:
    ports = free_ports(len(INNER))
    with tempfile.TemporaryDirectory(prefix="rag") as short:
        folder = Path(short)
        settings = {
            "RAG_MESH_SECRET": SECRET,
            "RAG_LOG_LEVEL": "DEBUG",
            "OPENAI_API_KEY": MODEL_KEY,
            "OPENAI_BASE_URL": model_server.base_url,
            "GENERATOR_BREAKER_FAILURES": "1000",
            "GENERATOR_MAX_RETRIES": "0",
            **{f"{name.upper()}_METRICS_PORT": str(port) for name, port in zip(INNER, ports, strict=True)},
            **for_mesh(folder),
        }
        with running_tree(folder / "data", models, **settings) as tree, open_door(tree, folder, **settings) as door:
            yield Guarded(tree, door, settings, ports)


def ragmesh(guarded: Guarded, *words: str) -> subprocess.CompletedProcess[str]:
    tree, settings = guarded.tree, guarded.settings
    addresses = {f"{name.upper()}_ADDRESS": f"127.0.0.1:{tree.ports[name]}" for name in INNER}
    data = {"RAG_DATA_DIR": str(tree.log.parent), "REDIS_URL": ""}
    return subprocess.run(
        [sys.executable, "-m", "rag.cli", *words],
        cwd=ROOT, env={**os.environ, **addresses, **data, **settings},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


async def answered(address: str, key: str = "") -> list[str]:
    async with RagClient(address, key) as rag:
        job = await rag.ingest_text(f"{FACT} The ferry leaves at six.", "harbour.txt", document_id="harbour")
        states = [event.job.state async for event in rag.watch(job.id)]
        assert states[-1] == ingestor_pb2.JOB_STATE_READY
        events = [event async for event in rag.ask(QUESTION)]
    return [event.WhichOneof("event") for event in events]


async def refusal(tree: Tree, caller: Mesh) -> RagError:
    """What somebody is told who asks the retriever itself."""
    context.use(context.new_call("default", 5))
    address = f"127.0.0.1:{tree.ports['retriever']}"
    async with open_peer(address, "rag.v1.RetrieverService", caller=caller) as peer:
        with pytest.raises(RagError) as caught:
            await peer.unary(RetrieverServiceStub(peer.channel).ListTenants, retriever_pb2.ListTenantsRequest())
        return caught.value


@pytest.mark.timeout(300)
async def test_all_services_reach_each_other_and_nobody_else_reaches_them(guarded: Guarded, folder: Path) -> None:
    tree, door, settings = guarded.tree, guarded.door, guarded.settings
    assert "citation" in await answered(tree.address)
    assert "citation" in await answered(door.address, door.key("acme", "admin"))

    shards = folder / "export"
    for words in (
        ("index", "export", str(shards), "--all-tenants"),
        ("index", "import", str(shards)),
        ("backup", str(folder / "saved")),
        ("eval", str(DATASET), "--running", "--modes", "keyword", "--no-timing", "--out", str(folder / "run.json")),
    ):
        done = ragmesh(guarded, *words)
        assert done.returncode == 0, (words, done.stdout + done.stderr)
    described = ragmesh(guarded, "index", "show", "--json")
    assert described.returncode == 0, described.stdout + described.stderr
    assert json.loads(described.stdout)

    tls = Tls(*(Path(settings[f"RAG_TLS_{name}_FILE"]).read_bytes() for name in ("CERTIFICATE", "KEY", "AUTHORITY")))
    assert (await refusal(tree, Mesh("", tls))).reason == "NO_IDENTITY"
    assert (await refusal(tree, Mesh("x" * 32, tls))).reason == "BAD_IDENTITY"
    assert isinstance(await refusal(tree, Mesh(SECRET)), Unavailable)
    outsider = Mesh(SECRET, tls, is_service=False)
    assert (await refusal(tree, outsider)).reason == "SCOPE_MISSING"


def canary(name: str) -> str:
    return f"canary{name}{new_id('x')[2:]}"


@pytest.mark.timeout(300)
async def test_neither_secrets_nor_texts_are_logged_measured_or_told(
    guarded: Guarded, model_server: ModelServer
) -> None:
    """Everything is written in everywhere, at the level DEBUG, with a model server that repeats what it refuses."""
    door = guarded.door
    places = ("text", "title", "name", "meta", "password", "question", "history", "query", "comment", "filter", "key")
    texts = {place: canary(place) for place in places}
    key, token = door.key("canaries", "admin"), door.token("canaries")
    stranger, forged = new_key().text, door.token("canaries")[:-6] + "AAAAAA"
    secrets = [SECRET, MODEL_KEY, JWT_SECRET, key[4:], stranger[4:], token.split(".")[2], forged.split(".")[2]]
    said: list[str] = []
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=door.url, timeout=60, headers=headers) as http:

        async def ask(verb: str, path: str, **more: Any) -> httpx.Response:
            answer = await http.request(verb, path, **more)
            said.append(f"{answer.headers} {answer.text}")
            return answer

        about = {"name": texts["name"], "title": texts["title"], "metadata": json.dumps({"k": texts["meta"]})}
        for content in (f"{FACT} {texts['text']}.".encode(), b"%PDF-1.4 " + texts["text"].encode()):
            job = (
                await ask(
                    "POST", "/v1/documents", params=about, content=content,
                    headers={"X-Document-Password": texts["password"]},
                )
            ).json()  # fmt: skip
            await ask("GET", f"/v1/jobs/{job['id']}/events")
        asked = {
            "question": f"{QUESTION} {texts['question']}",
            "history": [{"role": "user", "text": texts["history"]}],
            "use_cache": False,
        }
        heard: list[bool] = []
        refusals: list[dict[str, Any]] = [{"status": status} for status in (400, 401, 403, 404, 422, 429, 500)]
        for script in (*refusals, {"malformed": True}, {"reset_after": 1}, {"error_after": 1}):
            model_server.reset()
            model_server.script(times=None, echo=True, **script)
            await ask("POST", "/v1/query", json=asked)
            heard += [MODEL_KEY in seen["headers"]["authorization"] for seen in model_server.requests()]
        assert heard
        assert all(heard)
        model_server.reset()
        answer = (await ask("POST", "/v1/query", json=asked)).json()
        await ask(
            "POST",
            "/v1/chat/completions",
            json={"model": "ragmesh", "messages": [{"role": "user", "content": texts["question"]}]},
        )
        await ask(
            "POST", "/v1/feedback", json={"answer_id": answer["answer_id"], "rating": "up", "comment": texts["comment"]}
        )
        for body in (
            {"query": texts["query"], "filter": {"k": texts["filter"]}},
            {"query": texts["query"], "top_k": "x"},
        ):
            await ask("POST", "/v1/search", json=body)
        await ask("POST", "/v1/embeddings", json={"model": "all-MiniLM-L6-v2", "input": texts["query"]})
        await ask("POST", "/v1/keys", json={"name": texts["key"], "scopes": ["query"], "ttl_s": 60})
        said.pop()  # the one answer in which a key is told
        assert (await ask("GET", "/v1/keys")).status_code == 200
        for credential in (stranger, forged, token, key[:-3], f"{key}, {token}", SECRET, JWT_SECRET):
            await ask("GET", "/v1/documents", headers={"authorization": f"Bearer {credential}"})
        for path in (
            f"/v1/documents/{texts['query']}%00",
            f"/v1/{key}?{key}",
            "/v1/documents?page_token=" + texts["query"],
        ):
            await ask("GET", path)
        open_texts = [(await http.get("/metrics")).text, (await http.get("/readyz")).text]
        for port in guarded.metrics_ports:
            open_texts.append((await http.get(f"http://127.0.0.1:{port}/metrics")).text)
    logs = guarded.logs()
    assert "canaries" in logs
    for secret in secrets:
        assert secret not in logs, lines_with(secret, logs)
        assert not [one for one in open_texts if secret in one]
    own = {key[4:], stranger[4:]}  # what the path repeats to the one who wrote it there
    for secret in set(secrets) - own:
        assert not [one for one in said if secret in one]
    for place, text in texts.items():
        assert text not in logs, (place, lines_with(text, logs))
        assert not [one for one in open_texts if text in one], place
    assert "canaries" not in "".join(open_texts)


def lines_with(text: str, logs: str) -> list[str]:
    return [line[:400] for line in logs.splitlines() if text in line][:5]
