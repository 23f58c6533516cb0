"""Webhooks: a job's end reaches the operator's server, signed, and is repeated until it is heard."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rag.v1 import ingestor_pb2 as pb
from services.ingestor.adapters.redis_ended_jobs import ENDED, RedisEndedJobs
from services.ingestor.settings import IngestorSettings
from services.ingestor.webhooks import secret_of
from tests.waiting import until

SECRET = "a secret of at least 24 characters"


@dataclass
class Heard:
    """What the operator's server received; it answers `statuses` in turn, then 204."""

    statuses: list[int] = field(default_factory=list)
    messages: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""


@contextmanager
def receiver() -> Iterator[Heard]:
    heard = Heard()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            heard.messages.append(({key.lower(): value for key, value in self.headers.items()}, body))
            self.send_response(heard.statuses.pop(0) if heard.statuses else 204)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    heard.url = f"http://127.0.0.1:{server.server_port}/hook"
    try:
        yield heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_the_end_of_a_job_is_told_once_with_a_valid_signature(mesh, redis):
    with receiver() as heard:
        async with mesh.ingestor(webhook_url=heard.url, webhook_secret=SECRET) as client:
            job = await client.index(b"A text that is worth telling about.", "told.txt")
            await until(lambda: heard.messages)
            await until(lambda: _nothing_due(redis))
    assert len(heard.messages) == 1
    headers, body = heard.messages[0]
    signed = b".".join((headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body))
    expected = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    told = json.loads(body)
    assert told["type"] == "job.ready"
    assert (told["data"]["job_id"], told["data"]["document_id"]) == (job.id, job.document_id)
    assert told["data"]["tenant"] == client.tenant


async def test_the_failure_of_a_job_is_told_with_its_reason(mesh):
    with receiver() as heard:
        async with mesh.ingestor(webhook_url=heard.url, webhook_secret=SECRET) as client:
            job = await client.index(b"   \n\n  ", "blank.txt")
            await until(lambda: heard.messages)
    assert job.state == pb.JOB_STATE_FAILED
    told = json.loads(heard.messages[0][1])
    assert (told["type"], told["data"]["reason"]) == ("job.failed", job.error.reason)


async def test_a_receiver_that_fails_hears_the_same_message_again(mesh, redis):
    with receiver() as heard:
        heard.statuses = [500]
        async with mesh.ingestor(webhook_url=heard.url, webhook_secret=SECRET) as client:
            await client.index(b"A text that is told twice.", "twice.txt")
            await until(lambda: len(heard.messages) == 2)
            await until(lambda: _nothing_due(redis))
    assert heard.messages[0][0]["webhook-id"] == heard.messages[1][0]["webhook-id"]
    assert heard.messages[0][1] == heard.messages[1][1]


async def test_a_receiver_that_is_gone_is_not_asked_again(mesh, redis):
    with receiver() as heard:
        heard.statuses = [410]
        async with mesh.ingestor(webhook_url=heard.url, webhook_secret=SECRET) as client:
            await client.index(b"A text that nobody hears of.", "gone.txt")
            await until(lambda: heard.messages)
            await until(lambda: _nothing_due(redis))
    assert len(heard.messages) == 1


async def test_without_a_receiver_nothing_is_kept(mesh, redis):
    async with mesh.ingestor() as client:
        await client.index(b"A text for nobody.", "nobody.txt")
    assert await _nothing_due(redis)


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        ("whsec_" + base64.b64encode(b"x" * 24).decode(), b"x" * 24),
        (SECRET, SECRET.encode()),
        ("no whsec_", b"no whsec_"),
    ],
)
def test_a_secret_is_read_as_ready_libraries_have_it(secret, key):
    assert secret_of(secret) == key


@pytest.mark.parametrize("secret", ["short", "whsec_this is not base64 at all"])
def test_a_bad_secret_is_refused_at_the_start(secret):
    with pytest.raises(ValueError, match="INGESTOR_WEBHOOK_SECRET"):
        IngestorSettings(webhook_url="http://127.0.0.1/", webhook_secret=secret)


async def test_two_processes_do_not_tell_the_same_end(redis):
    await redis.zadd(ENDED, {"tenant/job_1/3": 0})
    told = await asyncio.gather(*(RedisEndedJobs(redis).due() for _ in range(10)))
    assert [ended.id for ended in told if ended] == ["job_1-3"]
    await redis.delete(ENDED)


async def _nothing_due(redis) -> bool:
    return not await redis.zcard(ENDED)
