"""How much a tenant stores, and how much room is left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from rag.runtime.errors import DeadlineExceeded, RagError
from rag.runtime.logs import get_logger
from services.gateway.limits.ledger import Refusal
from services.gateway.limits.limits import Limits
from services.gateway.limits.refusals import refusal

T = TypeVar("T")

log = get_logger(__name__)

_PATIENCE_S = 2.0


@dataclass(frozen=True, slots=True)
class Stored:
    """Documents, and the bytes of the uploads that they were made from."""

    documents: int = 0
    bytes: int = 0


class Stock(Protocol):
    """Knows what the tenant of the current call has."""

    async def unfinished(self) -> Stored:
        """Return what was accepted and is not stored yet.

        Raises:
            RagError: when it cannot be told.
        """
        ...

    async def stored(self) -> Stored:
        """Return what is stored.

        Raises:
            RagError: when it cannot be told.
        """
        ...

    async def has(self, document_id: str) -> bool:
        """Tell whether a document is stored.

        Raises:
            RagError: when it cannot be told.
        """
        ...


@dataclass(frozen=True, slots=True)
class Room:
    """What an upload may add."""

    bytes: int | None = None
    """None for any number."""
    is_full: bool = False
    """Whether it must be a new version of a document: there is no room for another one."""


class Quota:
    """Lets uploads in while there is room.

    Args:
        stock: What there is. While it cannot be told, uploads are let in: what was accepted is safe, and waits.
        patience_s: How long an upload waits for it, in seconds.
    """

    def __init__(self, stock: Stock, patience_s: float = _PATIENCE_S) -> None:
        self._stock = stock
        self._patience_s = patience_s
        self._is_away = False

    async def room(self, limits: Limits, uploads: int) -> Room:
        """Return how much may still be stored.

        Args:
            limits: The tenant's.
            uploads: Its other uploads that go on and began before.

        Raises:
            Overloaded: QUOTA_BYTES when there is none.
        """
        held = await self._told(self._all)
        if held is None:
            return Room()
        is_full = limits.documents is not None and held.documents + uploads >= limits.documents
        if limits.stored_bytes is None:
            return Room(None, is_full)
        if held.bytes >= limits.stored_bytes:
            raise refusal(Refusal.QUOTA_BYTES, limits)
        return Room(limits.stored_bytes - held.bytes, is_full)

    async def replaces(self, document_id: str) -> bool:
        """Tell whether an upload under this id makes no new document; yes when that cannot be told."""
        return bool(document_id) and await self._told(partial(self._stock.has, document_id)) is not False

    async def _all(self) -> Stored:
        # In this order: what gets ready in between counts twice and not never.
        waiting, stored = await self._stock.unfinished(), await self._stock.stored()
        return Stored(waiting.documents + stored.documents, waiting.bytes + stored.bytes)

    async def _told(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        """Return what the stock says, None while it does not."""
        try:
            async with asyncio.timeout(self._patience_s):
                answer = await ask()
        except (RagError, TimeoutError) as error:
            if isinstance(error, DeadlineExceeded):
                raise
            if not self._is_away:
                log.warning("quota_not_checked", why=repr(error))
            self._is_away = True
            return None
        self._is_away = False
        return answer
