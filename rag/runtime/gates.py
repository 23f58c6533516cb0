"""What stands between a process and the services it calls: who it calls as, and what it lets through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import grpc

from rag.runtime.context import CallContext


class Caller(Protocol):
    """Says who makes the calls of a channel."""

    def outgoing(self, call: CallContext) -> tuple[str, str]:
        """Return one pair of metadata that says on whose behalf a call is made."""
        ...

    def channel(self, target: str, options: Sequence[tuple[str, object]]) -> grpc.aio.Channel:
        """Open a channel to the target."""
        ...


class Pass(Protocol):
    """What a gate gives to a call that it lets through."""

    async def sent(self, request: Any) -> None:
        """Take note of a request before it leaves: a message, or its bytes where they are passed on as they are.

        Raises:
            RagError: when the call may not go on with it.
        """
        ...

    def saw(self, response: Any) -> None:
        """Take note of a response, in the same way."""
        ...


class Gate(Protocol):
    """Decides whether a call may be made, and follows it to its end."""

    def enter(self, method: str) -> AbstractAsyncContextManager[Pass]:
        """Let a call of the current context through for the length of a block, such as `/rag.v1.GeneratorService/Generate`.

        Raises:
            RagError: when it may not be made, or not now.
        """
        ...


class Open:
    """The gate of a service that calls another: whoever may call it may have it call others."""

    @asynccontextmanager
    async def enter(self, _method: str) -> AsyncIterator[Pass]:
        """Let every call through."""
        yield self

    async def sent(self, request: Any) -> None:
        """Look at nothing."""

    def saw(self, response: Any) -> None:
        """Look at nothing."""
