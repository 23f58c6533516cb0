"""Live versions, read from the catalogue once for as long as nothing is committed or deleted."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

_MOST_ENTRIES = 100_000


@dataclass(frozen=True, slots=True)
class Live:
    """The live version of a document, and its title or, without one, its name."""

    version: int
    title: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Live versions, and the state of the tenant's documents in which they were read; each commit and each deletion makes another."""

    state: str
    versions: Mapping[str, Live]


@dataclass(frozen=True, slots=True)
class Told:
    """Live versions, all of one state, and which documents the catalogue was asked for just now."""

    versions: Mapping[str, Live]
    asked: Collection[str]


class LiveVersions(Protocol):
    """The catalogue, as far as searches need it."""

    async def live(self, tenant: str, document_ids: Collection[str], state: str) -> Answer:
        """Return the live versions of these documents, in one reading; those that do not exist are left out.

        When `state` is not empty and not the present one any more, nothing but the present one is told.
        """

    async def ping(self) -> bool:
        """Return True when the catalogue answers."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a tenant in one state; None for a document that does not exist."""

    state: str = ""
    versions: dict[str, Live | None] = field(default_factory=dict)


class Unchanged:
    """Asks the catalogue each time for the state, and only for those documents that were not read in it.

    So what it tells is one reading, as if all had been asked for.

    Args:
        catalogue: Where they are read.
        most: How many documents are remembered.
    """

    def __init__(self, catalogue: LiveVersions, most: int = _MOST_ENTRIES) -> None:
        self._catalogue = catalogue
        self._most = most
        self._tenants: OrderedDict[str, _Known] = OrderedDict()
        self._entries = 0

    async def live(self, tenant: str, document_ids: Collection[str]) -> Told:
        """Return the live versions of these documents."""
        known = self._tenants.get(tenant) or _Known()
        missing = [name for name in document_ids if name not in known.versions]
        answer = await self._catalogue.live(tenant, missing, known.state)
        if answer.state != known.state:
            if known.state:
                missing = list(document_ids)
                answer = await self._catalogue.live(tenant, missing, "")
            known = _Known(answer.state)
        known = self._remembered(tenant, known, {name: answer.versions.get(name) for name in missing})
        found = ((name, known.versions[name]) for name in document_ids)
        return Told({name: live for name, live in found if live is not None}, missing)

    def _remembered(self, tenant: str, known: _Known, read: Mapping[str, Live | None]) -> _Known:
        """Add what was read. A search that was overtaken may bring back an older state: that costs a reading, no more."""
        newest = self._tenants.pop(tenant, None)
        if newest is not None:
            self._entries -= len(newest.versions)
            known = newest if newest.state == known.state and not known.versions else known
        known.versions.update(read)
        self._tenants[tenant] = known
        self._entries += len(known.versions)
        while self._entries > self._most:
            _, oldest = self._tenants.popitem(last=False)
            self._entries -= len(oldest.versions)
        return known
