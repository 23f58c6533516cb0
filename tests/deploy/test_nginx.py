"""The shipped nginx.conf in front of two gateways."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from rag.client import RagClient
from rag.runtime.server import serving
from rag.runtime.settings import ServiceSettings
from services.gateway.settings import GatewaySettings
from services.gateway.wiring import wire
from tests.deploy.nginx import Nginx, find_nginx, running_nginx
from tests.gateway.backends import Backends
from tests.gateway.conftest import QUICK, ready, settings_for
from tests.gateway.messages import answer
from tests.gateway.stage import HOLD
from tests.waiting import until

pytestmark = pytest.mark.skipif(not find_nginx(), reason="nginx is not installed")
ANSWER = answer("Hello", " world")
FIRST_TOKEN = 4
"""Events up to the first token."""


@dataclass
class Front:
    """nginx, two gateways, and one set of services behind both."""

    nginx: Nginx
    http: httpx.AsyncClient
    backends: Backends
    gateways: list[AsyncExitStack]
    http_ports: list[int]

    def client(self) -> RagClient:
        return RagClient(self.nginx.url, authority_file=self.nginx.authority_file)

    def served_by(self) -> list[str]:
        """The gateway of each request so far, by its port."""
        return [line.rsplit(":", 1)[-1] for line in self.nginx.access_log.read_text().splitlines()]


@asynccontextmanager
async def front(folder: Path, gateway: dict[str, object] | None = None, **nginx: str) -> AsyncIterator[Front]:
    backends = Backends()
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(serving(ServiceSettings(**QUICK), backends.room()))
        gateways, ports = [], []
        for _number in range(2):
            own = await stack.enter_async_context(AsyncExitStack())
            gateways.append(own)
            ports.append(await _gateway(own, settings_for(port, **(gateway or {}))))
        running = await stack.enter_async_context(running_nginx(folder, ports, **nginx))
        trust = ssl.create_default_context(cafile=str(running.authority_file))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=running.url, verify=trust, timeout=20))
        await until(lambda: _answers(http))
        yield Front(running, http, backends, gateways, [http_port for http_port, _ in ports])


async def _gateway(stack: AsyncExitStack, settings: GatewaySettings) -> tuple[int, int]:
    room = await stack.enter_async_context(wire(settings))
    port = await stack.enter_async_context(serving(settings, room))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{room.http_port}") as http:
        await until(lambda: ready(http))
    return room.http_port, port


async def _answers(http: httpx.AsyncClient) -> bool:
    return (await http.get("/v1/documents/doc-1")).status_code == 200


async def test_each_event_arrives_before_the_next_is_made(tmp_path: Path) -> None:
    async with front(tmp_path) as at:
        stage = at.backends.generator.stage
        stage.script = [*ANSWER[:FIRST_TOKEN], HOLD, *ANSWER[FIRST_TOKEN:]]
        body = {"question": "q", "stream": True}
        async with at.http.stream("POST", "/v1/query", json=body) as response:
            chunks = response.aiter_text()
            seen = ""
            while "Hello" not in seen:  # the second token does not exist yet
                seen += await anext(chunks)
            stage.release.set()
            seen += "".join([chunk async for chunk in chunks])
        assert seen.index("Hello") < seen.index("world") < seen.index("event: done")


async def test_grpc_streams_through_both_ways_and_ends_with_its_caller(tmp_path: Path) -> None:
    async with front(tmp_path) as at:
        stage = at.backends.generator.stage
        stage.script = [*ANSWER[:FIRST_TOKEN], HOLD, *ANSWER[FIRST_TOKEN:]]
        async with at.client() as rag:
            assert await rag.is_serving()
            async with aclosing(rag.ask("q")) as events:
                while not (await anext(events)).HasField("token"):
                    pass
                stage.release.set()
                assert [event.WhichOneof("event") async for event in events][-1] == "done"
            stage.release.clear()
            async with aclosing(rag.ask("left")) as events:
                await anext(events)
            await asyncio.wait_for(stage.cancelled.wait(), 20)
            await rag.ingest_text("x" * 300_000, "a.txt")
        assert len(at.backends.ingestor.content) == 300_000


async def test_a_silent_stream_outlives_the_timeout_of_nginx(tmp_path: Path) -> None:
    # A hundredth of the shipped times: 150 s of nginx and 15 s between heartbeats.
    changes = {"proxy_read_timeout 150s": "proxy_read_timeout 1500ms"}
    async with front(tmp_path, {"sse_ping_s": 0.15}, **changes) as at:
        stage = at.backends.generator.stage
        stage.script = [*ANSWER[:FIRST_TOKEN], HOLD, *ANSWER[FIRST_TOKEN:]]
        async with at.http.stream("POST", "/v1/query", json={"question": "q", "stream": True}) as response:
            beats, seen = 0, ""
            async for line in response.aiter_lines():
                seen += line
                beats += line.startswith(":")
                if beats == 20:  # twice the timeout without an event
                    stage.release.set()
        assert "done" in seen


async def test_an_upload_goes_on_while_it_arrives(tmp_path: Path) -> None:
    async with front(tmp_path) as at:
        ingestor = at.backends.ingestor
        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'

        async def body() -> AsyncIterator[bytes]:
            yield head + b"x" * 500_000
            await ingestor.first_bytes.wait()  # behind the gateway, while the rest is not even sent
            yield b"y" * 1_000 + b"\r\n--b--\r\n"

        headers = {"content-type": "multipart/form-data; boundary=b"}
        response = await at.http.post("/v1/documents", content=body(), headers=headers)
        assert response.status_code == 202, response.text
        assert len(ingestor.content) == 501_000


async def test_the_other_gateway_takes_over(tmp_path: Path) -> None:
    async with front(tmp_path) as at:
        ports = {str(port) for port in at.http_ports}
        for _ in range(6):
            assert (await at.http.get("/v1/documents/doc-1")).status_code == 200
        await until(lambda: ports <= set(at.served_by()))
        await at.gateways[0].aclose()
        for _ in range(6):
            assert (await at.http.get("/v1/documents/doc-1")).status_code == 200
        async with at.client() as rag:
            assert (await rag.document("doc-1")).id == "doc-1"
            assert [event async for event in rag.ask("q")]


async def test_the_id_of_a_request_comes_in_goes_on_and_comes_out(tmp_path: Path) -> None:
    async with front(tmp_path) as at:
        named = await at.http.get("/v1/documents/doc-1", headers={"x-request-id": "mine-1"})
        assert named.headers["x-request-id"] == "mine-1"
        assert at.backends.retriever.stage.metadata["x-request-id"] == "mine-1"
        unnamed = await at.http.get("/v1/documents/doc-1")
        assert unnamed.headers["x-request-id"] == at.backends.retriever.stage.metadata["x-request-id"]
        await until(lambda: unnamed.headers["x-request-id"] in at.nginx.access_log.read_text())


async def test_what_is_for_operators_stays_inside_and_plain_text_is_sent_away(tmp_path: Path) -> None:
    async with front(tmp_path) as at:
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await at.http.get(path)).status_code == 404
        async with httpx.AsyncClient() as plain:
            sent = await plain.get(f"http://localhost:{at.nginx.plain_port}/v1/documents")
        assert (sent.status_code, sent.headers["location"]) == (308, "https://localhost/v1/documents")
        assert "server" not in sent.headers or "/" not in sent.headers["server"]


async def test_a_body_above_the_limit_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    async with front(tmp_path, **{"client_max_body_size 1100m": "client_max_body_size 1m"}) as at:
        refused = await at.http.post("/v1/documents", content=b"x" * 2_000_000)
        assert refused.status_code == 413
        assert not at.backends.ingestor.uploads
