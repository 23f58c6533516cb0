"""What a double of a service saw, and what it is told to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import grpc

from rag.runtime import context
from rag.runtime.context import CallContext

Context = grpc.aio.ServicerContext
HOLD = object()
"""In a script: wait until the test releases the stream."""


@dataclass
class Stage:
    """What a servicer saw, and what it is told to do."""

    script: Sequence[object] = ()
    requests: list[object] = field(default_factory=list)
    calls: list[CallContext] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    serving: bool = True

    async def is_serving(self) -> bool:
        return self.serving

    def enter(self, request: object, grpc_context: Context) -> None:
        self.requests.append(request)
        self.calls.append(context.current())
        self.metadata = {
            key: value for key, value in grpc_context.invocation_metadata() or () if isinstance(value, str)
        }
        self.entered.set()

    async def play(self) -> AsyncIterator[object]:
        try:
            for step in self.script:
                if step is HOLD:
                    await self.release.wait()
                elif isinstance(step, Exception):
                    raise step
                else:
                    yield step
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
