"""Tenants over every method of the contract: what a hostile one writes into any field shows and changes nothing of another's."""

from __future__ import annotations

import asyncio
import itertools
import re
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import grpc
import httpx
import numpy as np
import pytest
import pytest_asyncio
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from rag import own_redis
from rag.runtime.redis import open_redis
from rag.v1 import ingestor_pb2, retriever_pb2
from rag.v1.embedder_pb2 import GetModelRequest
from rag.vectors import pack
from tests.contract import Answer, call, methods, name_of, string_fields
from tests.hostile import HOSTILE, Maker, any_stream, with_text
from tests.system.processes import Tree

pytestmark = pytest.mark.asyncio(loop_scope="module")

METHODS = {name_of(method): method for method in methods() if method.containing_service.name != "GatewayService"}
"""Of the services behind the gateway; what the gateway itself answers is for whoever shows a credential."""
NO_TENANTS = [None, "", " ", "*", "a/b", "a b", "' or 1==1", "..", "a" * 65, "a:b", '"a"']
READS = {"Generate", "GetJob", "ListJobs", "Retrieve", "ListDocuments", "GetDocument", "ListPassages", "ExportIndex"}
OF_ALL = {"ListTenants": "It names tenants, for operators: the gateway refuses it."}
"""Methods whose answer is not a tenant's, each with the reason."""
BROKEN = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}
GLOBAL_KEYS = {
    r"rag:vector:.*": "Vectors, found by the digest of the whole text only.",
    r"rag:cooldown:[0-9a-f]{64}": "How long a provider of a model wants to be left alone.",
    r"rag:index(:[a-z]+)*": "What the index is and how far its rebuild: no documents.",
    r"rag:(changes|version_floor)": "Numbers.",
    r"rag:(erasures|open_versions|deletions)": "Work to do; each member begins with the tenant.",
    r"rag:ingest:(queue|unfinished|leftovers|ended|ended_tries)": "Work to do; each member names the tenant.",
    r"rag:evaluation:(figures|order)": "Figures of evaluations.",
    r"rag:keys:([0-9a-f]{64}|pepper)": "API keys, found by a digest; each names its tenant.",
    r"rag:pause:removals": "Whether a backup is being taken.",
}
"""Keys without a tenant, each with the reason."""


@dataclass
class Tenant:
    """A tenant and what only it may see."""

    name: str
    canary: str
    ids: list[str] = field(default_factory=list)
    """Of jobs and passages."""
    tokens: list[str] = field(default_factory=list)
    """Of pages."""
    kept: Mapping[bytes, object] = field(default_factory=dict)
    """All that Redis holds of it."""

    def attacks(self, path: str = "") -> list[str]:
        """What others may try to get at it by, in a field."""
        paths = [self.name, f"{self.name}/shared/1/0", f'" or tenant == "{self.name}']
        return [*paths, *(self.tokens if path.endswith("page_token") else [self.ids[0], self.ids[-1]])]


@dataclass
class Mesh:
    """The services behind the gateway, two tenants with documents, and one that has its eyes on them."""

    tree: Tree
    channels: Mapping[str, grpc.aio.Channel]
    redis: Redis
    owners: Sequence[Tenant] = field(repr=False)
    keys_before: set[bytes] = field(default_factory=set, repr=False)
    tenants: set[str] = field(default_factory=lambda: {"default"}, repr=False)
    """All that a call was made for."""
    maker: Maker = field(default_factory=Maker, repr=False)

    async def call(self, method: MethodDescriptor, requests: Sequence[Message], tenant: str | None) -> Answer:
        self.tenants.add(tenant or "")
        channel = self.channels[method.containing_service.name]
        return await call(channel, method, requests, *([("x-rag-tenant", tenant)] if tenant is not None else []))

    async def ask(self, tenant: str, method: str, **fields: object) -> Answer:
        kind = GetMessageClass(METHODS[method].input_type)
        return await self.call(METHODS[method], [kind(**fields)], tenant)

    async def check(self, method: MethodDescriptor, requests: Sequence[Message], tenant: str) -> None:
        """Ask, and see that the answer is a clear one that tells nothing of other tenants."""
        answer = await self.call(method, requests, tenant)
        assert answer.code not in BROKEN, (name_of(method), requests, answer)
        said, sent = answer.said(), "\n".join(map(str, requests))
        for owner in self.owners:
            if owner.name != tenant and method.name not in OF_ALL:
                assert owner.canary not in said, (name_of(method), requests, answer)
                assert not [secret for secret in owner.ids if secret in said and secret not in sent]

    async def all_of(self, tenant: str) -> dict[bytes, object]:
        return {key: await self._held(key) async for key in self.redis.scan_iter(f"rag:{tenant}:*")}

    async def _held(self, key: bytes) -> object:
        """What a key holds, without what a rebuild of the index notes there: one of the random requests may begin one."""
        if b":document:" in key:
            fields = await self.redis.hgetall(key)
            return {field: value for field, value in fields.items() if not field.startswith(b"passages:")}
        return await (self.redis.smembers(key) if b":vectors:" in key else self.redis.dump(key))

    async def check_unharmed(self) -> None:
        for owner in self.owners:
            now = await self.all_of(owner.name)
            for key, kept in owner.kept.items():
                # A rebuild may embed every tenant's passages again, and their vectors are noted too.
                held = now[key] & kept if b":vectors:" in key else now.get(key)
                assert held == kept, key


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tree: Tree) -> AsyncIterator[Mesh]:
    async with AsyncExitStack() as stack:
        channels = {}
        for service, port in tree.ports.items():
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
            channels[f"{service.capitalize()}Service"] = channel
        redis = await stack.enter_async_context(open_redis(own_redis.url_of(tree.log.parent)))
        owners = [
            Tenant(f"tenant-{letter}-{uuid.uuid4().hex[:8]}", f"canary{letter}{uuid.uuid4().hex}") for letter in "ab"
        ]
        made = Mesh(tree, channels, redis, owners, {key async for key in redis.scan_iter("*")})
        await asyncio.gather(*(_plant(made, owner) for owner in owners))
        model = (await made.call(METHODS["EmbedderService/GetModel"], [GetModelRequest()], "any")).messages[0]
        vector = pack(np.ones((1, model.dimension), dtype=np.float32))
        known = {"model": model.model, "revision": model.revision, "dimension": model.dimension, "vectors": vector}
        made.maker = Maker(known)
        yield made


@pytest.fixture
def stranger() -> str:
    """A tenant that has only what it makes in one test."""
    return f"tenant-c-{uuid.uuid4().hex[:8]}"


async def _plant(mesh: Mesh, owner: Tenant) -> None:
    """Two documents in several passages, one of them with an id that the other owner has too."""
    for document_id in ("shared", f"only-{owner.name}"):
        text = "\n\n".join(f"The pump {n} of {owner.canary} is checked every week. " * 12 for n in range(4))
        job = await _submit(mesh, owner, document_id, text.encode())
        owner.ids.append(job.id)
        watched = await mesh.ask(owner.name, "IngestorService/WatchJob", job_id=job.id)
        assert watched.messages[-1].job.state == ingestor_pb2.JOB_STATE_READY
    documents = await mesh.ask(owner.name, "RetrieverService/ListDocuments", page_size=1)
    jobs = await mesh.ask(owner.name, "IngestorService/ListJobs", page_size=1)
    passages = await mesh.ask(owner.name, "RetrieverService/ListPassages", document_id="shared", page_size=1)
    owner.tokens += [answer.messages[0].next_page_token for answer in (documents, jobs, passages)]
    assert all(owner.tokens)
    owner.ids.append(passages.messages[0].passages[0].id)
    owner.kept = await mesh.all_of(owner.name)


async def _submit(mesh: Mesh, owner: Tenant, document_id: str, content: bytes) -> ingestor_pb2.Job:
    header = ingestor_pb2.SubmitDocumentHeader(name="a.txt", document_id=document_id, title=owner.canary)
    header.metadata["team"].text = owner.canary
    parts = [
        ingestor_pb2.SubmitDocumentRequest(header=header),
        ingestor_pb2.SubmitDocumentRequest(chunk=content),
        ingestor_pb2.SubmitDocumentRequest(commit=ingestor_pb2.SubmitDocumentCommit(size_bytes=len(content))),
    ]
    answer = await mesh.call(METHODS["IngestorService/SubmitDocument"], parts, owner.name)
    return answer.messages[0].job


@pytest.mark.parametrize("method", METHODS)
async def test_without_a_valid_tenant_nothing_is_answered(mesh, method):
    for tenant in NO_TENANTS:
        for requests in mesh.maker.streams(METHODS[method])[:1]:
            answer = await mesh.call(METHODS[method], requests, tenant)
            assert (answer.code, answer.reason) == (grpc.StatusCode.UNAUTHENTICATED, "NO_TENANT"), tenant
            assert not answer.messages


@pytest.mark.parametrize("method", METHODS)
async def test_no_text_in_any_field_leads_to_another_tenant(mesh, stranger, method):
    """Each text field of the request in turn, by a stranger; methods that read are tried by an owner against the other too."""
    made = mesh.maker.streams(METHODS[method])
    paths = list(string_fields(METHODS[method].input_type))
    rotating, each = itertools.cycle(HOSTILE), max(4, len(HOSTILE) // max(1, len(paths)))
    tried = []
    for path in paths:
        base = next(stream for stream in made if any(with_text(part, path, "") is not None for part in stream))
        for value in (*mesh.owners[1].attacks(path), *itertools.islice(rotating, each)):
            tried.append([with_text(part, path, value) or part for part in base])
    tenants = [stranger, *([mesh.owners[0].name] if method.split("/")[1] in READS else [])]
    for tenant in tenants:
        for some in _in_groups(tried or made, 8):
            await asyncio.gather(*(mesh.check(METHODS[method], requests, tenant) for requests in some))
    await mesh.check_unharmed()


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=6, suppress_health_check=list(HealthCheck))
@given(data=st.data())
async def test_no_request_whatever_leads_to_another_tenant(mesh, stranger, method, data):
    owner = mesh.owners[1]
    values = [*HOSTILE, *owner.attacks(), *owner.tokens, "shared"]
    requests = data.draw(any_stream(METHODS[method], values))
    await mesh.check(METHODS[method], requests, stranger)


def _in_groups(items: Sequence, size: int) -> list[Sequence]:
    return [items[at : at + size] for at in range(0, len(items), size)]


NAMES = {"document_id": "shared", "job_id": ""}
ABOUT_ONE = [
    name
    for name, method in METHODS.items()
    if not method.client_streaming and NAMES.keys() & {part.name for part in method.input_type.fields}
]


@pytest.mark.parametrize("method", ABOUT_ONE)
async def test_what_is_anothers_answers_like_what_does_not_exist(mesh, stranger, method):
    kind = METHODS[method].input_type
    owner = mesh.owners[0]
    theirs = owner.ids[0] if "job_id" in kind.fields_by_name else f"only-{owner.name}"
    unknown = theirs[:-4] + "0000"
    [[base], *_] = mesh.maker.streams(METHODS[method])
    part = next(name for name in NAMES if name in kind.fields_by_name)
    answers = []
    for value in (theirs[:-4] + "1111", theirs, unknown):
        answer = await mesh.call(METHODS[method], [with_text(base, part, value)], stranger)
        answers.append((answer.code, _without(answer.said(), value)))
    # The first one filled the caches of what does not depend on the id.
    assert answers[1] == answers[2]
    await mesh.check_unharmed()


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("GET", "/v1/documents/{document}"),
        ("GET", "/v1/documents/{document}/passages"),
        ("DELETE", "/v1/documents/{document}"),
        ("GET", "/v1/jobs/{job}"),
        ("GET", "/v1/jobs/{job}/events"),
        ("POST", "/v1/jobs/{job}:cancel"),
        ("POST", "/v1/jobs/{job}:retry"),
    ],
)
async def test_the_same_over_http(mesh, verb, path):
    owner = mesh.owners[0]
    names = {"document": f"only-{owner.name}", "job": owner.ids[0]}
    answers = []
    async with httpx.AsyncClient(base_url=mesh.tree.url, timeout=30) as http:
        for ids in (names, {key: value[:-4] + "0000" for key, value in names.items()}):
            answer = await http.request(verb, path.format(**ids), headers={"x-rag-tenant": owner.name})
            problem = {key: value for key, value in answer.json().items() if key != "request_id"}
            said = str(problem)
            for value in ids.values():
                said = _without(said, value)
            answers.append((answer.status_code, sorted(answer.headers.keys()), said))
    assert answers[0] == answers[1]
    assert answers[0][0] == 404
    await mesh.check_unharmed()


async def test_the_gateway_believes_no_word_about_the_tenant(mesh):
    owner = mesh.owners[0]
    headers = {"x-rag-tenant": owner.name}
    async with httpx.AsyncClient(base_url=mesh.tree.url, timeout=60, headers=headers) as http:
        listed = await http.get("/v1/documents", params={"tenant": owner.name})
        sought = [
            await http.post("/v1/search", json={"query": f"pump of {owner.canary}", **extra})
            for extra in (
                {},
                {"tenant": owner.name},
                {"filter": {"conditions": [{"key": "tenant", "equals": owner.name}]}},
            )
        ]
        asked = await http.post("/v1/query", json={"question": f"Which pump of {owner.canary} is checked?"})
        for answer in (listed, *sought, asked):
            assert answer.status_code in {200, 400, 422}
            hits = answer.json().get("hits", []) + answer.json().get("sources", []) + answer.json().get("documents", [])
            assert owner.canary not in str(hits)
    request = retriever_pb2.RetrieveRequest(query=f"pump of {owner.canary}", min_score=-1)
    method = METHODS["RetrieverService/Retrieve"]
    answer = await call(mesh.channels["GatewayService"], method, [request], ("x-rag-tenant", owner.name))
    assert answer.code == grpc.StatusCode.OK
    assert owner.canary not in answer.said()


async def test_a_document_belongs_to_whoever_sent_it_whatever_its_metadata_says(mesh):
    owner = mesh.owners[0]
    sender = Tenant(f"tenant-d-{uuid.uuid4().hex[:8]}", owner.name)
    job = await _submit(mesh, sender, "shared", b"The pump of another is checked every day.")
    await mesh.ask(sender.name, "IngestorService/WatchJob", job_id=job.id)
    found = await mesh.ask(owner.name, "RetrieverService/Retrieve", query="The pump of another", min_score=-1.0)
    assert "every day" not in found.said()
    mine = await mesh.ask(sender.name, "RetrieverService/Retrieve", query="The pump of another", min_score=-1.0)
    assert [event.hit.passage.document_id for event in mine.messages if event.HasField("hit")] == ["shared"]
    await mesh.check_unharmed()


async def test_equal_ids_of_two_tenants_are_two_documents(mesh):
    for owner, other in itertools.permutations(mesh.owners, 2):
        found = await mesh.ask(owner.name, "RetrieverService/Retrieve", query=f"pump of {other.canary}", top_k=50)
        hits = [event.hit for event in found.messages if event.HasField("hit")]
        assert {hit.passage.document_id for hit in hits} <= {"shared", f"only-{owner.name}"}
        assert all(owner.canary in hit.passage.text for hit in hits)
        listed = await mesh.ask(owner.name, "RetrieverService/ListPassages", document_id="shared")
        assert all(owner.canary in passage.text for passage in listed.messages[0].passages)


async def test_keys_hold_the_tenant_first_or_are_no_tenants(mesh):
    async for raw in mesh.redis.scan_iter("*"):
        key = raw.decode()
        assert not [owner for owner in mesh.owners if owner.canary in key]
        if raw in mesh.keys_before or any(re.fullmatch(pattern, key) for pattern in GLOBAL_KEYS):
            continue
        prefix, tenant, kind, *_ = [*key.split(":"), "", ""]
        assert (prefix, bool(kind)) == ("rag", True), key
        assert tenant in mesh.tenants, key


def _without(said: str, value: str) -> str:
    return re.sub(r"\b(ms|_ms)?: [0-9.e+-]+", "", said.replace(value, "<id>"))
