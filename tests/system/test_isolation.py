"""Four tenants over every route and every method at the door: what is another's answers like what does not exist."""

from __future__ import annotations

import asyncio
import itertools
import re
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import httpx
import pytest
import pytest_asyncio

from rag.runtime.access import INTERNAL, required_scope
from rag.runtime.redis import open_redis
from rag.v1 import gateway_pb2
from rag.v1 import ingestor_pb2 as pb
from rag.v1.ingestor_pb2_grpc import IngestorServiceStub
from tests.contract import Answer, call, methods, name_of
from tests.hostile import Maker, with_text
from tests.system.door import Door, open_door
from tests.system.processes import Tree
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PARTS = {"document_id": "document", "job_id": "job", "key_id": "key", "answer_id": "answer"}
"""The fields that name one thing, and what of a tenant's they name."""
MALFORMED = {"malformed": "a b/../%00", "injection": '" or tenant != "'}
OF_ALL = {"ListTenants": "Names tenants, to operators only."}
LABELS = {
    "EmbedderService/Embed": "The id says whose the texts are that come with the call; nothing is looked up by it."
}
ENDS = {"DeleteDocument", "RevokeKey", "CancelJob"}
"""What a tenant would take from itself."""
BROKEN = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS, grpc.StatusCode.UNIMPLEMENTED}
METHODS = {
    name_of(method): method
    for method in methods()
    if required_scope(method.containing_service.full_name, method.name) != INTERNAL
}
OTHERS = {"deleted", "running", "own", "foreign", "unknown", *MALFORMED}


@dataclass
class Tenant:
    """A tenant, what it gets in with, and the ids of what it has."""

    name: str
    credential: str
    canary: str = field(default_factory=lambda: f"canary{uuid.uuid4().hex}")
    ids: dict[str, str] = field(default_factory=dict)
    deleted: dict[str, str] = field(default_factory=dict)
    running: dict[str, str] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.credential}"}

    def secrets(self) -> set[str]:
        """What nobody else may be told."""
        named = {*self.ids.values(), *self.deleted.values(), *self.running.values()}
        return {self.canary, *(value for value in named if value != "shared")}


@dataclass
class House:
    """Four tenants at a door."""

    door: Door
    http: httpx.AsyncClient
    channel: grpc.aio.Channel
    tenants: Sequence[Tenant]
    over: asyncio.Event = field(default_factory=asyncio.Event)
    uploads: list = field(default_factory=list)

    async def raw(self, tenant: Tenant, method: str, requests: Sequence) -> Answer:
        return await call(self.channel, METHODS[method], requests, *tenant.headers.items())

    def check(self, tenant: Tenant, said: str, sent: str, what: object) -> None:
        """Nothing of another tenant's is in what a tenant was told, but what it said itself."""
        for other in self.tenants:
            if other is not tenant:
                assert not [secret for secret in other.secrets() if secret in said and secret not in sent], what


@pytest.fixture(scope="module")
def door(tree: Tree) -> Iterator[Door]:
    with tempfile.TemporaryDirectory(prefix="rag") as folder, open_door(tree, Path(folder)) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(door: Door) -> AsyncIterator[House]:
    names = [f"tenant-{letter}-{uuid.uuid4().hex[:8]}" for letter in "abcd"]
    pad = "x" * 600  # tokens that begin with the same characters are different ones all the same
    credentials = [*(door.key(name) for name in names[:2]), *(door.token(name, pad=pad) for name in names[2:])]
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=door.url, timeout=60))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(door.address))
        made = House(door, http, channel, [Tenant(*both) for both in zip(names, credentials, strict=True)])
        for tenant in made.tenants:
            await _move_in(made, tenant)
        yield made
        made.over.set()
        for upload in made.uploads:
            upload.cancel()


async def _move_in(house: House, tenant: Tenant) -> None:
    """Documents, a deleted one, one under way; a question, an opinion about its answer; a key."""
    own = f"only-{tenant.name}"
    for document_id in ("shared", own, f"gone-{tenant.name}"):
        tenant.ids = {"document": document_id, "job": await _upload(house, tenant, document_id)}
        if document_id.startswith("gone"):
            tenant.deleted = tenant.ids
            await _ok(house, tenant, "DELETE", f"/v1/documents/{document_id}")
        if document_id == own:
            kept = tenant.ids
    tenant.ids = kept
    tenant.running = {"document": f"later-{tenant.name}"}
    house.uploads.append(_begin_upload(house, tenant, tenant.running["document"]))
    asked = await _ok(
        house, tenant, "POST", "/v1/query", json={"question": f"Which pump of {tenant.canary} is checked?"}
    )
    assert tenant.canary in asked.text
    tenant.ids["answer"] = asked.json()["answer_id"]
    opinion = {"answer_id": tenant.ids["answer"], "rating": "down", "comment": tenant.canary}
    await _ok(house, tenant, "POST", "/v1/feedback", json=opinion)
    key = await _ok(house, tenant, "POST", "/v1/keys", json={"name": tenant.canary, "scopes": ["query"]})
    tenant.ids["key"] = key.json()["key"]["id"]


async def _ok(house: House, tenant: Tenant, verb: str, path: str, **body: object) -> httpx.Response:
    answer = await house.http.request(verb, path, headers=tenant.headers, **body)
    assert answer.is_success, answer.text
    return answer


async def _upload(house: House, tenant: Tenant, document_id: str) -> str:
    text = "\n\n".join(f"The pump {number} of {tenant.canary} is checked every week. " * 8 for number in range(3))
    body = {
        "document_id": document_id,
        "name": f"{tenant.canary}.txt",
        "title": f"Pumps of {tenant.canary}",
        "text": text,
        "metadata": {"team": tenant.canary},
    }
    job = (await _ok(house, tenant, "POST", "/v1/documents", json=body)).json()["id"]

    async def is_ready() -> bool:
        return (await _ok(house, tenant, "GET", f"/v1/jobs/{job}")).json()["state"] == "ready"

    await until(is_ready)
    return str(job)


def _begin_upload(house: House, tenant: Tenant, document_id: str) -> AsyncIterator[object]:
    """An upload that goes on for as long as these tests: its header and a part are there, its end is not."""
    header = pb.SubmitDocumentHeader(name=f"{tenant.canary}.txt", document_id=document_id, title=tenant.canary)

    async def parts() -> AsyncIterator[pb.SubmitDocumentRequest]:
        yield pb.SubmitDocumentRequest(header=header)
        yield pb.SubmitDocumentRequest(chunk=f"The pump of {tenant.canary}".encode())
        await house.over.wait()

    metadata = tuple(tenant.headers.items())
    return IngestorServiceStub(house.channel).SubmitDocument(parts(), metadata=metadata, timeout=600)


def named(owner: Tenant, attacker: Tenant, kind: str) -> Mapping[str, str]:
    """The ids that an attacker tries, by what they name."""
    if kind in MALFORMED:
        return dict.fromkeys(PARTS.values(), MALFORMED[kind])
    if kind == "unknown":
        return {what: value[:-4] + "0000" for what, value in owner.ids.items()}
    chosen = {"own": attacker.ids, "foreign": owner.ids, "deleted": owner.deleted, "running": owner.running}[kind]
    return {**owner.ids, **chosen}


def _masked(said: str, ids: Mapping[str, str]) -> str:
    for value in sorted(ids.values(), key=len, reverse=True):
        said = said.replace(value, "<id>")
    said = re.sub(r"req_[0-9a-f]+", "<request>", said)
    return re.sub(r"[0-9]+(\.[0-9]+)?(e-?[0-9]+)?", "<number>", said)


PAIRS = list(itertools.permutations(range(4), 2))


@pytest.mark.parametrize("method", METHODS)
async def test_methods(house: House, method: str) -> None:
    streams = Maker().streams(METHODS[method])
    part = next((one for one in PARTS if one in METHODS[method].input_type.fields_by_name), None)
    if METHODS[method].client_streaming:
        part = None
    for attacker, owner in ((house.tenants[a], house.tenants[b]) for a, b in PAIRS):
        answers = {}
        for kind in sorted(OTHERS if part else {"foreign"}):
            if kind == "own" and METHODS[method].name in ENDS:
                continue
            ids = named(owner, attacker, kind)
            requests = [with_text(one, part, ids[PARTS[part]]) or one for one in streams[0]] if part else streams[0]
            answer = await house.raw(attacker, method, requests)
            assert answer.code not in BROKEN, (method, kind, answer)
            if METHODS[method].name not in OF_ALL:
                house.check(attacker, answer.said(), str(requests), (method, kind, answer))
            answers[kind] = (answer.code, _masked(answer.said(), ids))
        if part and method not in LABELS:
            for kind in ("foreign", "deleted", "running"):
                assert answers[kind] == answers["unknown"], (method, kind)


def _routes(spec: Mapping) -> list[tuple[str, str]]:
    return [(verb.upper(), path) for path, verbs in spec["paths"].items() for verb in verbs if path.startswith("/v1/")]


BODIES: Mapping[tuple[str, str], Mapping] = {
    ("POST", "/v1/query"): {"question": "Which pump is checked every week?"},
    ("POST", "/v1/search"): {"query": "pump checked every week", "top_k": 100, "min_score": -1},
    ("POST", "/v1/documents"): {"name": "a.txt", "text": "Text.", "document_id": "mine"},
    ("POST", "/v1/feedback"): {"answer_id": "{answer}", "rating": "up"},
    ("POST", "/v1/keys"): {"name": "k", "scopes": ["query"]},
    ("POST", "/v1/chat/completions"): {"model": "ragmesh", "messages": [{"role": "user", "content": "Which pump?"}]},
    ("POST", "/v1/embeddings"): {"model": "ragmesh", "input": "pump"},
    ("POST", "/v1/index:rebuild"): {"action": "cancel"},
}


async def test_routes(house: House) -> None:
    """Every route of the description, by each tenant, for what is its own, another's, deleted, under way, or nobody's."""
    spec = (await house.http.get("/openapi.json")).json()
    routes = _routes(spec)
    assert len(routes) > 20
    for attacker, owner in ((house.tenants[a], house.tenants[b]) for a, b in PAIRS):
        await asyncio.gather(*(_try(house, route, attacker, owner) for route in routes))


async def _try(house: House, route: tuple[str, str], attacker: Tenant, owner: Tenant) -> None:
    verb, path = route
    body = BODIES.get(route)
    about_one = "{" in path or "{answer}" in (body or {}).values()
    answers = {}
    for kind in sorted(OTHERS if about_one else {"foreign"}):
        if kind == "own" and (verb == "DELETE" or path.endswith((":cancel", ":revoke"))):
            continue
        ids = named(owner, attacker, kind)
        url = path
        for part, what in PARTS.items():
            url = url.replace(f"{{{part}}}", httpx.URL(f"/{ids[what]}").raw_path.decode()[1:] if what in ids else "x")
        sent = {key: ids["answer"] if value == "{answer}" else value for key, value in body.items()} if body else None
        extra = {"json": sent} if sent is not None else {}
        answer = await house.http.request(verb, url, headers=attacker.headers, **extra)
        assert answer.status_code < 500, (route, kind, answer.text)
        house.check(attacker, answer.text + str(answer.headers), f"{url}{sent}", (route, kind, answer.text))
        answers[kind] = (answer.status_code, sorted(answer.headers), _masked(answer.text, ids))
    if about_one and "model" not in path:
        for kind in ("foreign", "deleted", "running"):
            assert answers[kind] == answers["unknown"], (route, kind)


async def test_owners_still_have_what_was_theirs(house: House) -> None:
    """What strangers tried changed nothing."""
    for tenant in house.tenants:
        await _ok(house, tenant, "GET", f"/v1/documents/{tenant.ids['document']}")
        answer = await _ok(house, tenant, "POST", "/v1/query", json={"question": f"Which pump of {tenant.canary}?"})
        assert tenant.canary in answer.text
        said = (await _ok(house, tenant, "GET", "/v1/feedback")).json()["feedback"]
        assert [one["answer_id"] for one in said] == [tenant.ids["answer"]]
        keys = (await _ok(house, tenant, "GET", "/v1/keys")).json()["keys"]
        assert [key for key in keys if key["id"] == tenant.ids["key"] and not key["revoked_at"]]


async def test_the_same_question_of_two_tenants_has_two_answers(house: House) -> None:
    """Every cache is warm with the others' answers to it: no vector, ranking or answer is shared beyond a tenant."""
    question = {"question": "Which pump is checked every week?"}
    for _ in range(2):
        for tenant in house.tenants:
            answer = await _ok(house, tenant, "POST", "/v1/query", json=question)
            house.check(tenant, answer.text, "", answer.text)
            assert tenant.canary in answer.text


async def test_one_request_id_of_two_tenants_is_two_uploads(house: House) -> None:
    jobs = set()
    for tenant in house.tenants[:2]:
        answer = await house.http.post(
            "/v1/documents",
            headers={**tenant.headers, "idempotency-key": "one"},
            json={"name": "a.txt", "text": f"Of {tenant.canary}.", "document_id": "same"},
        )
        assert answer.is_success, answer.text
        jobs.add(answer.json()["id"])
    assert len(jobs) == 2


async def test_logs_metrics_and_keys_tell_nothing_of_anybody(house: House) -> None:
    metrics = (await house.http.get("/metrics")).text
    logs = house.door.log.read_text() + house.door.tree.log.read_text()
    for tenant in house.tenants:
        for text in (logs, metrics):
            assert tenant.canary not in text
            assert tenant.credential not in text
    async with open_redis(house.door.environment["REDIS_URL"]) as redis:
        keys = [key.decode() async for key in redis.scan_iter("*")]
    assert not [key for key in keys for tenant in house.tenants if tenant.canary in key or tenant.credential in key]


async def test_every_method_that_names_one_thing_was_tried() -> None:
    """A new field that names something of a tenant's needs a name here."""
    fields = {
        part.name for method in METHODS.values() for part in method.input_type.fields if part.name.endswith("_id")
    }
    assert fields <= {*PARTS, "after_document_id"}  # a place in one's own list
    assert gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"].full_name == "rag.v1.GatewayService"
