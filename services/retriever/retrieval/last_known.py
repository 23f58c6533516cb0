"""Which versions are live: as the catalogue says, or for a while as it said last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from rag.runtime.errors import Unavailable
from services.retriever.catalogue import Document
from services.retriever.retrieval.contact import Contact
from services.retriever.retrieval.unchanged import Live, LiveVersions, Unchanged

_MOST_ENTRIES = 200_000
_MOST_CHARACTERS = 32_000_000


@dataclass(frozen=True, slots=True)
class Reading:
    """The live versions of some documents; those that do not exist are left out. `is_current` tells whether they were read now."""

    versions: Mapping[str, Live]
    is_current: bool = True


class LastKnown:
    """Reads live versions and remembers them for the time when the catalogue cannot be reached.

    What is remembered follows the commits and deletions of this process at once, so a document that was deleted through it
    is not shown again.

    Args:
        catalogue: Where they are read.
        contact: Tells whether it can be reached.
        grace_s: How long after the catalogue's last answer they are told from memory.
        most: How many documents are remembered.
    """

    def __init__(self, catalogue: LiveVersions, contact: Contact, grace_s: float, most: int = _MOST_ENTRIES) -> None:
        self._catalogue = catalogue
        self._unchanged = Unchanged(catalogue)
        self._contact = contact
        self._grace_s = grace_s
        self._most = most
        self._entries: OrderedDict[tuple[str, str], Live | int] = OrderedDict()  # an int: gone, up to this version
        self._characters = 0

    async def live(self, tenant: str, document_ids: Collection[str]) -> Reading:
        """Return the live versions of these documents.

        Raises:
            Unavailable: CATALOGUE_UNAVAILABLE for longer than the grace.
        """
        try:
            told = await self._contact.ask(lambda: self._unchanged.live(tenant, document_ids))
        except Unavailable:
            if not self._is_in_grace():
                raise
            known = {name: self._entries.get((tenant, name)) for name in document_ids}
            return Reading({name: live for name, live in known.items() if isinstance(live, Live)}, is_current=False)
        for name in told.asked:
            self._learn((tenant, name), told.versions.get(name))
        return Reading(told.versions)

    async def is_usable(self) -> bool:
        """Tell whether searches get an answer: the catalogue's, or within the grace the last one."""
        try:
            return await self._contact.ask(self._catalogue.ping)
        except Unavailable:
            if not self._is_in_grace():
                raise
            return True

    def committed(self, tenant: str, document: Document) -> None:
        """Take note of a version that went live."""
        self._learn((tenant, document.id), Live(document.version, document.title or document.name))

    def deleted(self, tenant: str, document_id: str, version: int | None) -> None:
        """Take note of a deletion and the version that was live, 0 for none; None when nobody knows whether it happened."""
        key = (tenant, document_id)
        known = _version(self._entries.get(key))
        if version is None:
            self._drop(key)
        elif max(version, known):
            self._keep(key, max(version, known))

    def _is_in_grace(self) -> bool:
        return self._contact.silent_s() <= self._grace_s

    def _learn(self, key: tuple[str, str], live: Live | None) -> None:
        """Versions only grow, so an answer that was overtaken by a commit or a deletion is known by its version."""
        entry = self._entries.get(key)
        if live is None:
            if isinstance(entry, Live):
                self._drop(key)
        elif live.version > _version(entry) or (isinstance(entry, Live) and live.version == entry.version):
            self._keep(key, live)

    def _keep(self, key: tuple[str, str], entry: Live | int) -> None:
        self._drop(key)
        self._entries[key] = entry
        self._characters += _size(entry)
        while len(self._entries) > self._most or self._characters > _MOST_CHARACTERS:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: tuple[str, str]) -> None:
        self._characters -= _size(self._entries.pop(key, 0))


def _version(entry: Live | int | None) -> int:
    return entry.version if isinstance(entry, Live) else entry or 0


def _size(entry: Live | int) -> int:
    return len(entry.title) if isinstance(entry, Live) else 0
