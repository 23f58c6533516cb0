"""Forms whose client leaves, dawdles or is faster than the ingestor."""

from __future__ import annotations

import asyncio
import json

from tests.gateway.forms import END, FORM, file
from tests.gateway.stage import HOLD
from tests.waiting import until


async def _connect(gateway, length: int, sent: bytes):
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.http_port)
    head = f"POST /v1/documents HTTP/1.1\r\nhost: localhost\r\ncontent-type: {FORM['content-type']}\r\ncontent-length: {length}\r\n\r\n"
    writer.write(head.encode() + sent)
    await writer.drain()
    return reader, writer


async def test_a_client_who_leaves_in_the_second_of_three_files_keeps_the_first_and_nothing_of_the_second(gateway):
    ingestor = gateway.backends.ingestor
    sent = file("a", b"first") + file("b", b"x" * 100_000)[:50_000]
    _, writer = await _connect(gateway, 1_000_000, sent)
    await asyncio.wait_for(ingestor.second_bytes.wait(), 20)
    assert ingestor.committed == ["a"]

    writer.close()
    await writer.wait_closed()

    # A server hears of a cancelled call as a cancel, or for a moment as the end of its stream: both end the upload.
    await until(lambda: ingestor.uploads[1].ended)
    assert ingestor.committed == ["a"]
    assert len(ingestor.uploads) == 2


async def test_a_client_who_leaves_while_the_last_file_is_made_durable_cancels_it(gateway):
    ingestor = gateway.backends.ingestor
    ingestor.stage.script = [HOLD]
    sent = file("a", b"first") + END
    _, writer = await _connect(gateway, len(sent), sent)
    await until(lambda: ingestor.uploads and ingestor.committed == ["a"])

    writer.close()
    await writer.wait_closed()

    await asyncio.wait_for(ingestor.stage.cancelled.wait(), 20)


async def test_a_slow_form_is_cut_and_what_was_accepted_is_told(open_gateway):
    async with open_gateway(upload_timeout_s=1.5) as gateway:
        sent = file("a", b"first") + file("b", b"second")[:-5]
        reader, writer = await _connect(gateway, 1_000_000, sent)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        length = int(head.lower().split(b"content-length:")[1].split()[0])
        results = json.loads(await reader.readexactly(length))["results"]
        writer.close()

    assert [(r["name"], r.get("problem", {}).get("reason")) for r in results] == [
        ("a", None),
        ("b", "DEADLINE_EXCEEDED"),
    ]


async def test_a_slow_ingestor_slows_the_client_down(gateway):
    """The bytes wait in the socket, not in our memory."""
    ingestor = gateway.backends.ingestor
    ingestor.reading.clear()
    length = 64 * 1024 * 1024
    _, writer = await _connect(gateway, length, file("a", b"")[:-2])
    sending = asyncio.create_task(_flood(writer, length))
    try:
        await asyncio.wait_for(ingestor.stage.entered.wait(), 20)
        done, _ = await asyncio.wait({sending}, timeout=1)
        assert not done
    finally:
        sending.cancel()
        await asyncio.wait({sending})
        writer.transport.abort()
        ingestor.reading.set()


async def _flood(writer: asyncio.StreamWriter, length: int) -> None:
    for _ in range(length // 65_536):
        writer.write(b"x" * 65_536)
        await writer.drain()
