from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import orjson
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rag.v1 import generator_pb2
from services.gateway.http.query import answer_frame
from services.gateway.http.sse import Feed, frame
from tests.gateway.events import parse

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(TEXT, min_size=1))
@example(["\n", "\r\n", "\r", "\n\ndata: x\n\n", "\u2028\u2029\u0085\x0b\x0c\x1c\x00", "event: done", ": ping", "é😀"])
def test_any_text_survives_in_a_frame(texts):
    events = [
        generator_pb2.GenerateResponse(sequence=n, token=generator_pb2.Token(text=text))
        for n, text in enumerate(texts, 1)
    ]
    stream = b"".join(answer_frame(event) for event in events)

    assert [event.data["text"] for event in parse(stream)] == texts
    assert [event.id for event in parse(stream)] == [str(n) for n in range(1, len(texts) + 1)]


@given(TEXT)
def test_no_reader_that_splits_at_other_line_ends_breaks_a_frame(text):
    assert len(frame("token", orjson.dumps({"text": text}), 1).decode().splitlines()) == 4


@given(st.lists(st.integers(1, 40), max_size=8))
@settings(max_examples=30)
def test_a_feed_keeps_every_frame_in_order(bursts):
    async def frames() -> AsyncGenerator[bytes, None]:
        number = 0
        for burst in bursts:
            for _ in range(burst):
                number += 1
                yield b"%d " % number
            await asyncio.sleep(0)

    async def drain() -> bytes:
        feed, taken = Feed(), b""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(feed.fill(frames()))
            while chunk := await feed.take():
                taken += chunk
        return taken

    assert [int(part) for part in asyncio.run(drain()).split()] == list(range(1, sum(bursts) + 1))
