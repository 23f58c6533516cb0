"""A connection to Milvus that comes back: after the embedded engine died, after a server was away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc
from pymilvus import AsyncMilvusClient, MilvusException

from rag.runtime.context import remaining_s
from rag.runtime.errors import Internal, RagError, Unavailable
from rag.runtime.logs import get_logger
from services.retriever.metrics import READS_RETRIED

T = TypeVar("T")
Operation = Callable[[AsyncMilvusClient, float], Awaitable[T]]
"""One operation on a client, with the seconds it may take. It may run more than once."""
Address = Callable[[], Awaitable[str]]
Opened = Callable[[AsyncMilvusClient], Awaitable[None]]

_TRIES = 5
_PAUSE_S = 0.02
_CONNECT_S = 5.0
_CONNECT_FAILED = 2
SPARSE_RACE = "Invalid sparse row"
"""What a keyword search of the embedded engine sometimes says while rows are being written; the next try succeeds. On an
empty index it always says so."""

log = get_logger(__name__)


class MilvusConnection:
    """Runs operations, each bounded by its call's deadline, and tries again what a retry can heal.

    Args:
        address: Says where Milvus is now; a new address means a new client.
        token: For a server that asks for one.
        timeout_s: The longest that one operation may take.
        on_open: Called with each new client before it is used.
    """

    def __init__(self, address: Address, token: str, timeout_s: float, on_open: Opened) -> None:
        self._address = address
        self._token = token
        self._timeout_s = timeout_s
        self._on_open = on_open
        self._client: AsyncMilvusClient | None = None
        self._retired: AsyncMilvusClient | None = None
        self._connected_to = ""
        self._connecting = asyncio.Lock()

    async def run(self, operation: Operation[T]) -> T:
        """Run an operation that may be repeated without harm.

        Raises:
            Unavailable: INDEX_UNAVAILABLE when Milvus is away or does not answer in time.
            DeadlineExceeded: when the call has no time left.
            Internal: INDEX_ERROR when Milvus refuses the operation.
        """
        for attempt in range(1, _TRIES + 1):
            timeout_s = min(remaining_s(self._timeout_s), self._timeout_s)
            try:
                client = await self._connect()
                return await _cancellable(operation(client, timeout_s))
            except (MilvusException, grpc.RpcError, Unavailable) as error:
                if attempt == _TRIES or not _may_heal(error):
                    raise _translated(error) from (error.__cause__ or error)
                READS_RETRIED.inc()
            await asyncio.sleep(_PAUSE_S * 2**attempt)
        raise AssertionError  # the last attempt returned or raised

    async def close(self) -> None:
        """Close the client. No operation may be running."""
        for client in (self._client, self._retired):
            if client is not None:
                await client.close()
        self._client = self._retired = None

    async def _connect(self) -> AsyncMilvusClient:
        async with self._connecting:
            address = await self._address()
            if self._client is not None and self._connected_to == address:
                return self._client
            await self._retire()
            # Dedicated: the shared registry of pymilvus would keep the connection after we closed ours.
            client = AsyncMilvusClient(address, token=self._token, timeout=_CONNECT_S, dedicated=True)
            try:
                await _cancellable(self._on_open(client))
            except BaseException:
                await client.close()
                raise
            self._client, self._connected_to = client, address
            return client

    async def _retire(self) -> None:
        # Closing a channel cancels the calls on it, and they would look like callers who left: first let them fail.
        if self._retired is not None:
            await self._retired.close()
        self._retired, self._client = self._client, None


async def _cancellable(work: Awaitable[T]) -> T:
    """Await `work`; a cancel takes effect at once. pymilvus uses asyncio.wait_for, which before Python 3.12 can lose one."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.cancel()
        raise


def _may_heal(error: Exception) -> bool:
    if isinstance(error, MilvusException):
        return error.code == _CONNECT_FAILED or SPARSE_RACE in str(error.message)
    return isinstance(error, Unavailable)  # an engine that died while it started


def _translated(error: Exception) -> RagError:
    if isinstance(error, Unavailable):
        return error
    away = isinstance(error, grpc.RpcError) or "Retry timeout" in str(error) or "StatusCode.UNAVAILABLE" in str(error)
    if away or _may_heal(error):
        return Unavailable("The index is not reachable.", "INDEX_UNAVAILABLE")
    return Internal("The index refused the operation.", "INDEX_ERROR")
