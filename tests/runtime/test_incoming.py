from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

from rag.runtime.incoming import Incoming


async def test_a_stream_that_ends_as_it_is_closed_is_no_error_to_report() -> None:
    """gRPC ends a stream of requests that is cancelled: how it ended is heard by nobody."""
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))
    is_waiting, has_ended = asyncio.Event(), asyncio.Event()

    async def raws() -> AsyncIterator[bytes]:
        yield b"1"
        try:
            is_waiting.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            has_ended.set()
            return

    async def read(incoming: Incoming) -> bytes:
        return bytes(await anext(incoming))

    incoming = Incoming(raws(), bytes)
    assert await read(incoming) == b"1"
    reader = asyncio.create_task(read(incoming))
    await is_waiting.wait()
    reader.cancel()
    await asyncio.wait({reader})
    incoming.close()
    await has_ended.wait()
    await asyncio.sleep(0)
    del incoming, reader
    gc.collect()
    assert reported == []
