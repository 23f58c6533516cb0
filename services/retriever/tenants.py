"""The tenants that have documents."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rag.ids import check_id
from rag.paging import decode_token, encode_token, page_size


@dataclass(frozen=True, slots=True)
class TenantPage:
    """Some tenants in the order of their names, and the token of those after them (empty at the end)."""

    tenants: Sequence[str]
    next_page_token: str


class TenantNames(Protocol):
    """The catalogue of all tenants."""

    async def tenants(self) -> Sequence[str]:
        """Return the tenants that have documents, sorted."""


class Tenants:
    """Lists tenants."""

    def __init__(self, names: TenantNames) -> None:
        self._names = names

    async def list(self, requested: int, page_token: str) -> TenantPage:
        """Return one page.

        Raises:
            InvalidInput: BAD_PAGE_SIZE, BAD_PAGE_TOKEN.
        """
        size = page_size(requested)
        after = check_id(str(decode_token(page_token, str)[0]), "page_token") if page_token else ""
        names = await self._names.tenants()
        first = bisect_right(names, after)
        found = names[first : first + size]
        return TenantPage(found, encode_token(found[-1]) if first + size < len(names) else "")
