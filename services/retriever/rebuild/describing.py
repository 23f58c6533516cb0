"""Describing the index: what is live, what is being built, what is kept, and what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from rag.runtime.errors import RagError
from services.retriever.opening import Index
from services.retriever.passages import Model
from services.retriever.rebuild.standing import Standing
from services.retriever.retrieval.query import Notice


class Record(Protocol):
    """Where indexes are recorded."""

    async def standing(self) -> Standing:
        """Return where the indexes stand, in one reading."""


class Rows(Protocol):
    """The rows of collections."""

    async def rows(self, index: Index) -> int:
        """Return how many rows an index has, of all tenants."""


class Holdings(Protocol):
    """What a tenant has."""

    async def holdings(self, tenant: str) -> tuple[int, int]:
        """Return how many documents a tenant has, and how many passages these have."""


class Models(Protocol):
    """The models that are at hand."""

    async def mismatch(self, wanted: Model) -> RagError | None:
        """Return why no embedder has a model; None when one has it or nobody knows."""


@dataclass(frozen=True, slots=True)
class Description:
    """Where the indexes stand, how many rows each has by its collection, and what the asking tenant has."""

    standing: Standing
    rows: Mapping[str, int]
    problem: Notice | None
    documents: int
    passages: int


class Describing:
    """Describes the index to one tenant."""

    def __init__(
        self, record: Record, rows: Rows, holdings: Holdings, models: Models, live: Callable[[], object]
    ) -> None:
        self._record = record
        self._rows = rows
        self._holdings = holdings
        self._models = models
        self._live = live

    async def describe(self, tenant: str) -> Description:
        """Return all of it.

        Raises:
            Unavailable: the index or the catalogue is away.
        """
        standing = await self._record.standing()
        rows = {index.collection: await self._rows.rows(index) for index in standing.indexes()}
        documents, passages = await self._holdings.holdings(tenant)
        return Description(standing, rows, await self._problem(standing), documents, passages)

    async def _problem(self, standing: Standing) -> Notice | None:
        try:
            self._live()
        except RagError as error:
            return Notice(error.reason, error.message)
        building = standing.building
        if building and building.trouble:
            return Notice("REBUILD_WAITS", f"The rebuild waits: {building.trouble}")
        mismatch = await self._models.mismatch(standing.live.model) if standing.live else None
        if mismatch is None:
            return None
        told = (
            "Searches go by words only and nothing can be written until `ragmesh index rebuild` has made a new index."
        )
        return Notice(mismatch.reason, f"{mismatch.message} {told}")
