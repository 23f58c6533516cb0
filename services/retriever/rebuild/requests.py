"""Asking for a rebuild: what is asked is checked and recorded, and whoever asked follows it to its end."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rag.ids import check_id, new_id
from rag.runtime.errors import Conflict, FailedPrecondition, InvalidInput, NotFound
from services.retriever.opening import Index, name_index
from services.retriever.parts import require
from services.retriever.passages import Model
from services.retriever.rebuild.rebuilding import retired
from services.retriever.rebuild.standing import Comparison, Labelled, Outcome, Progress, Retired, Standing, Wish
from services.retriever.retrieval.query import MAX_QUERY

_MOST_QUERIES = 1_000
_MOST_LABELS = 1_000
_FOLLOW_S = 0.25
_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for, as in the contract. An empty analyzer is the one of the settings."""

    analyzer: str = ""
    resplit: bool = False
    force: bool = False
    dry_run: bool = False
    min_overlap: float = 0.3
    max_precision_loss: float = 0.02
    queries: Sequence[Labelled] = ()


class Record(Protocol):
    """Where rebuilds are recorded."""

    async def standing(self) -> Standing:
        """Return where the indexes stand, in one reading."""

    async def next_generation(self) -> int:
        """Return a number that no index has had, from 2."""

    async def begin(self, rebuild_id: str, wish: Wish) -> bool:
        """Begin a rebuild; False when one is under way already, or the index to go back to is gone."""

    async def end(self, outcome: Outcome, target: Retired) -> bool:
        """End a rebuild that did not switch, and retire its index; False when it had ended."""


class Models(Protocol):
    """The models that are at hand."""

    async def model(self) -> Model:
        """Return the model that new indexes are for; Unavailable while its embedder is away."""

    async def of(self, wanted: Model) -> object:
        """Return the embedder that has a model; FailedPrecondition MODEL_MISMATCH when none has."""


class Wake(Protocol):
    """Who builds."""

    def wake(self) -> None:
        """Look for a rebuild now."""


Event = Progress | Comparison | Outcome


class Rebuilds:
    """Begins, follows and cancels rebuilds."""

    def __init__(
        self,
        record: Record,
        models: Models,
        builder: Wake,
        *,
        analyzers: Sequence[str],
        keep_s: float,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._record = record
        self._models = models
        self._builder = builder
        self._analyzers = analyzers
        """The one of the settings first."""
        self._keep_s = keep_s
        self._clock = clock
        self._sleep = sleep

    async def build(self, tenant: str, request: Request) -> AsyncGenerator[Event, None]:
        """Build a new index, or follow the building of the same one, to its end.

        Raises:
            InvalidInput: BAD_ANALYZER, BAD_OVERLAP, BAD_PRECISION_LOSS, BAD_QUERIES, BAD_ID.
            Conflict: REBUILD_RUNNING, when another index is being built.
            Unavailable: the index is not open, or the catalogue or the embedder is away.
        """
        _check(request)
        analyzer = request.analyzer or self._analyzers[0]
        if analyzer not in self._analyzers:
            raise InvalidInput(f"The analyzer is one of {', '.join(sorted(self._analyzers))}.", "BAD_ANALYZER")
        standing = await self._record.standing()
        live, model = _live(standing), await self._models.model()
        if (live.model, live.analyzer) == (model, analyzer) and not (request.resplit or request.force):
            yield Outcome("", "NOT_NEEDED", "The live index has this model and this analyzer already.")
            return
        target = name_index(model, analyzer, await self._record.next_generation())
        asked_by = tenant if request.queries else ""
        wish = Wish(
            target,
            resplit=request.resplit,
            dry_run=request.dry_run,
            min_overlap=request.min_overlap,
            max_precision_loss=request.max_precision_loss,
            tenant=asked_by,
            queries=tuple(request.queries),
        )
        async for event in self._follow(await self._begin(wish)):
            yield event

    async def roll_back(self) -> AsyncGenerator[Event, None]:
        """Bring the index that was live before up to date, and switch back to it.

        Raises:
            NotFound: NO_RETIRED_INDEX.
            FailedPrecondition: MODEL_MISMATCH, when no embedder has its model.
            Conflict: REBUILD_RUNNING.
            Unavailable: as `build`.
        """
        standing = await self._record.standing()
        building = standing.building
        if building and building.wish.rolls_back:
            wish = building.wish
        else:
            wish = _way_back(standing)
            # What was committed since has to be embedded again, and so has every question.
            await self._models.of(wish.target.model)
        async for event in self._follow(await self._begin(wish)):
            yield event

    async def cancel(self) -> AsyncGenerator[Event, None]:
        """Give up the index that is being built.

        Raises:
            NotFound: NO_REBUILD.
        """
        building = (await self._record.standing()).building
        if building is None:
            raise NotFound("No index is being built.", "NO_REBUILD")
        outcome = Outcome(building.id, "CANCELLED", "The rebuild was given up.")
        if not await self._record.end(outcome, retired(building.wish, self._clock(), self._keep_s)):
            raise NotFound("The rebuild had ended.", "NO_REBUILD")
        yield outcome

    async def _begin(self, wish: Wish) -> str:
        """Return the id of the rebuild that makes what is wanted."""
        rebuild_id = new_id("rebuild")
        if not await self._record.begin(rebuild_id, wish):
            building = (await self._record.standing()).building
            if building is None or not building.wish.is_like(wish):
                message = "Another index is being built; wait for it, or cancel it."
                raise Conflict(message, "REBUILD_RUNNING")
            rebuild_id = building.id
        self._builder.wake()
        return rebuild_id

    async def _follow(self, rebuild_id: str) -> AsyncGenerator[Event, None]:
        """Yield the progress when it changed, the comparison, then the outcome."""
        told, told_at = None, -math.inf
        while True:
            standing = await self._record.standing()
            building, outcome = standing.building, standing.outcome
            if building is None or building.id != rebuild_id:
                break
            if building.progress != told and self._clock() - told_at >= _AGAIN_S:
                told, told_at = building.progress, self._clock()
                yield told
            await self._sleep(_FOLLOW_S)
        if outcome is None or outcome.id != rebuild_id:
            raise FailedPrecondition("The rebuild ended, and another one since.", "REBUILD_ENDED")
        if outcome.comparison:
            yield outcome.comparison
        yield outcome


def _live(standing: Standing) -> Index:
    if standing.live is None:
        raise FailedPrecondition("There is no index yet.", "NO_INDEX")
    return standing.live


def _way_back(standing: Standing) -> Wish:
    for kept in standing.retired:
        if kept.live_at_ms:
            return Wish(kept.index, rolls_back=True, live_at_ms=kept.live_at_ms)
    raise NotFound("No index is kept to go back to.", "NO_RETIRED_INDEX")


def _check(request: Request) -> None:
    # Written so that NaN fails too.
    require(0 <= request.min_overlap <= 1, "BAD_OVERLAP", "min_overlap must be from 0 to 1.")
    require(0 <= request.max_precision_loss <= 1, "BAD_PRECISION_LOSS", "max_precision_loss must be from 0 to 1.")
    fits = len(request.queries) <= _MOST_QUERIES
    require(fits, "BAD_QUERIES", f"At most {_MOST_QUERIES} labelled queries are allowed.")
    for item in request.queries:
        well_formed = bool(item.query.strip()) and len(item.query) <= MAX_QUERY
        labelled = 1 <= len(item.document_ids) <= _MOST_LABELS
        require(well_formed and labelled, "BAD_QUERIES", "A labelled query needs a query and 1 to 1,000 documents.")
        for document_id in item.document_ids:
            check_id(document_id, "document_ids")
