"""A connection to Milvus that comes back: after the embedded engine died, after a server was away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc
from pymilvus import AsyncMilvusClient, MilvusException

from rag.runtime.backoff import retrying
from rag.runtime.context import remaining_s, until_s
from rag.runtime.errors import Internal, RagError, Unavailable
from rag.runtime.logs import get_logger
from rag.runtime.tasks import cancel_all
from services.retriever.metrics import READS_RETRIED

T = TypeVar("T")
Operation = Callable[[AsyncMilvusClient, float], Awaitable[T]]
"""One operation on a client, with the seconds it may take. It may run more than once."""
Address = Callable[[], Awaitable[str]]
Opened = Callable[[AsyncMilvusClient], Awaitable[None]]

_TRIES = 5
_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 0.5
_CONNECT_S = 5.0
_CONNECT_FAILED = 2
_NOT_LOADED = 101
"""What a server says that was started again and loads nothing by itself."""
_NEED_A_NEW_CLIENT = {_CONNECT_FAILED, _NOT_LOADED}
"""The old one's channel would wait before it connects again, for longer and longer."""
_OPTIONS = {"grpc.use_local_subchannel_pool": 1}
"""Without it a new channel would share the old one's waiting."""
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
        self._connecting: asyncio.Task[AsyncMilvusClient] | None = None

    async def run(self, operation: Operation[T]) -> T:
        """Run an operation that may be repeated without harm.

        Raises:
            Unavailable: INDEX_UNAVAILABLE when Milvus is away or does not answer in time.
            DeadlineExceeded: when the call has no time left.
            Internal: INDEX_ERROR when Milvus refuses the operation.
        """

        async def attempt() -> T:
            client = await self._connect()
            try:
                return await _cancellable(operation(client, min(remaining_s(self._timeout_s), self._timeout_s)))
            except MilvusException as error:
                if error.code in _NEED_A_NEW_CLIENT:
                    self._connected_to = ""
                raise

        try:
            async with asyncio.timeout(until_s(0, 0)):
                return await _at_once_or_later(attempt)
        except TimeoutError as error:
            raise _away() from error
        except (MilvusException, grpc.RpcError, Unavailable) as error:
            raise _translated(error) from (error.__cause__ or error)

    async def close(self) -> None:
        """Close the client. No operation may be running."""
        if self._connecting is not None:
            await cancel_all([self._connecting])
        for client in (self._client, self._retired):
            if client is not None:
                await client.close()
        self._client = self._retired = None

    async def _connect(self) -> AsyncMilvusClient:
        address = await self._address()
        if self._client is not None and self._connected_to == address:
            return self._client
        if self._connecting is None or self._connecting.done():
            # A task of its own: loading may take longer than the patience of the caller who began it, and serves all who wait.
            self._connecting = asyncio.create_task(self._open(address))
        return await asyncio.shield(self._connecting)

    async def _open(self, address: str) -> AsyncMilvusClient:
        await self._retire()
        # Dedicated: the shared registry of pymilvus would keep the connection after we closed ours.
        client = AsyncMilvusClient(
            address, token=self._token, timeout=_CONNECT_S, dedicated=True, grpc_options=_OPTIONS
        )
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
        caller = asyncio.current_task()
        if task.done() and caller is not None and not caller.cancelling():
            raise _away() from None  # nobody left: the channel was closed under the call
        task.cancel()
        raise


async def _at_once_or_later(attempt: Callable[[], Awaitable[T]]) -> T:
    """Try once without what it takes to try again, which costs a search a millisecond."""
    try:
        return await attempt()
    except Exception as error:
        if not _may_heal(error):
            raise
        _count(error, 0.0)
    return await retrying(attempt, _may_heal, _PAUSE_S, _LONGEST_PAUSE_S, attempts=_TRIES - 1, before_pause=_count)


def _may_heal(error: Exception) -> bool:
    if isinstance(error, MilvusException):
        return error.code in _NEED_A_NEW_CLIENT or SPARSE_RACE in str(error.message)
    return isinstance(error, Unavailable)  # an engine that died while it started


def _translated(error: Exception) -> RagError:
    if isinstance(error, Unavailable):
        return error
    away = isinstance(error, grpc.RpcError) or "Retry timeout" in str(error) or "StatusCode.UNAVAILABLE" in str(error)
    if away or _may_heal(error):
        return _away()
    return Internal("The index refused the operation.", "INDEX_ERROR")


def _away() -> Unavailable:
    return Unavailable("The index is not reachable.", "INDEX_UNAVAILABLE")


def _count(_error: Exception, _pause_s: float) -> None:
    READS_RETRIED.inc()
