"""Rebuilding: a new index is filled beside the live one, compared with it, and takes its place, or is given up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from rag.runtime import failpoints
from rag.runtime.errors import Internal, RagError
from rag.runtime.logs import get_logger
from rag.runtime.tasks import beside
from services.retriever.opening import Index
from services.retriever.rebuild.comparing import Verdict
from services.retriever.rebuild.copying import Copying
from services.retriever.rebuild.standing import Building, Comparison, Outcome, Progress, Retired, Stage, Standing, Wish
from services.retriever.rebuild.switching import Switching
from services.retriever.upkeep.rounds import Rounds

log = get_logger(__name__)

_BEAT_S = 0.5
_UNTIL_DROPPED_S = 2.0
"""Long enough for its builder to learn that it was given up."""


class Record(Protocol):
    """Where rebuilds are recorded."""

    async def standing(self) -> Standing:
        """Return where the indexes stand, in one reading."""

    async def claim(self, rebuild_id: str, progress: Progress | None = None, trouble: str = "") -> bool:
        """Build, or go on building, with what there is to tell; False when it ended or another process builds."""

    async def end(self, outcome: Outcome, target: Retired) -> bool:
        """End a rebuild that did not switch, and retire its index; False when it had ended."""

    async def keep(self, comparison: Comparison) -> None:
        """Remember the last comparison."""


class Workshop(Protocol):
    """Where an index is built."""

    async def copying(self, wish: Wish, standing: Standing) -> Copying:
        """Return the copy that a wish asks for, of the live index."""

    async def compare(self, wish: Wish) -> Verdict:
        """Ask both indexes."""

    async def use(self, index: Index) -> None:
        """Search and write in this one from now on."""


def retired(wish: Wish, now_s: float, keep_s: float) -> Retired:
    """Return the index of a rebuild that did not switch: one that was live before stays at hand, one that never was goes."""
    drop_at_s = now_s + (keep_s if wish.rolls_back else _UNTIL_DROPPED_S)
    return Retired(wish.target, wish.live_at_ms, int(drop_at_s * 1000))


class Rebuilder:
    """Does the rebuild that is recorded, in the background, and takes it up again after a restart."""

    def __init__(
        self,
        record: Record,
        workshop: Workshop,
        switching: Switching,
        *,
        keep_s: float,
        on_switch: Callable[[], None],
        idle_s: float = 1.0,
        most_backoff_s: float = 10.0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._record = record
        self._workshop = workshop
        self._switching = switching
        self._keep_s = keep_s
        self._on_switch = on_switch
        self._clock = clock
        self._sleep = sleep
        self._rounds = Rounds(idle_s, most_backoff_s, "rebuild_waits")

    def wake(self) -> None:
        """Look for a rebuild now."""
        self._rounds.wake()

    async def run(self) -> None:
        """Build until cancelled; failures are tried again, later and later, until the rebuild is given up."""
        await self._rounds.run(self._round)

    async def _round(self) -> bool:
        """Do the rebuild that is recorded, if any; return whether nothing failed."""
        building: Building | None = None
        try:
            standing = await self._record.standing()
            building = standing.building
            if building and await self._record.claim(building.id):
                await self._build(building, standing)
        except LookupError:
            log.info("rebuild_given_up", rebuild_id=building.id if building else "")
        except RagError as error:
            await self._tell(building, error)
            raise
        except Exception as error:
            # A document that nobody foresaw must not end the other work of this process.
            log.error("unexpected_error", exc_info=error)
            await self._tell(building, Internal("An internal error keeps the index from being built.", "INTERNAL"))
            return False
        return True

    async def _tell(self, building: Building | None, error: RagError) -> None:
        try:
            if building:
                await self._record.claim(building.id, building.progress, error.message)
        except RagError as again:
            log.warning("rebuild_trouble_not_told", reason=again.reason)

    async def _build(self, building: Building, standing: Standing) -> None:
        copying = await self._workshop.copying(building.wish, standing)
        outcome = await beside(self._steps(building, standing, copying), self._beat(building, copying))
        if outcome.switched:
            return
        await self._record.end(outcome, retired(building.wish, self._clock(), self._keep_s))
        log.info("rebuild_refused", rebuild_id=building.id, reason=outcome.reason)

    async def _steps(self, building: Building, standing: Standing, copying: Copying) -> Outcome:
        wish, live = building.wish, standing.live
        if live is None:
            raise LookupError(building.id)
        await copying.begin()
        await copying.run()
        comparison = None
        if not wish.rolls_back:
            copying.at(Stage.COMPARING)
            verdict = await self._workshop.compare(wish)
            comparison = verdict.comparison
            await self._record.keep(comparison)
            failpoints.reach("rebuild_compared")
            if verdict.refusal:
                return Outcome(building.id, *verdict.refusal, comparison)
            if wish.dry_run:
                return Outcome(building.id, "DRY_RUN", f"The new index would go live. {verdict.sentence}", comparison)
        copying.at(Stage.SWITCHING)
        went = "is live again" if wish.rolls_back else "is live"
        outcome = Outcome(building.id, "", f"The index {wish.target.collection} {went}.", comparison)
        await self._switching.switch(outcome, wish.target, live, standing.live_at_ms, copying.catch_up)
        failpoints.reach("index_switched")
        await self._workshop.use(wish.target)
        self._on_switch()
        log.info("index_switched", collection=wish.target.collection, old=live.collection)
        return outcome

    async def _beat(self, building: Building, copying: Copying) -> None:
        """Tell how far it is, and stop when the rebuild was given up."""
        while True:
            await self._sleep(_BEAT_S)
            # While it is being switched, the step that does it tells.
            if not await self._record.claim(building.id, copying.progress) and not _is_switching(copying):
                raise LookupError(building.id)


def _is_switching(copying: Copying) -> bool:
    return copying.progress.stage is Stage.SWITCHING
