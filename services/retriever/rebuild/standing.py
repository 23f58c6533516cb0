"""Where the indexes stand: which one is live, which is being built, which are kept to go back to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from services.retriever.opening import Index


class Stage(Enum):
    """A stage of a rebuild."""

    COPYING = "copying"
    COMPARING = "comparing"
    SWITCHING = "switching"


@dataclass(frozen=True, slots=True)
class Labelled:
    """A query and the documents that answer it."""

    query: str
    document_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a rebuild was asked for. The labelled queries are of the tenant that asked."""

    target: Index
    resplit: bool = False
    dry_run: bool = False
    rolls_back: bool = False
    """The target was live before, since `live_at_ms`, and is brought up to date."""
    live_at_ms: int = 0
    min_overlap: float = 0.3
    max_precision_loss: float = 0.02
    tenant: str = ""
    queries: tuple[Labelled, ...] = ()

    def is_like(self, other: Wish) -> bool:
        """Whether both would build the same index."""
        return _what(self) == _what(other)


def _what(wish: Wish) -> object:
    target = wish.target
    return target.model, target.analyzer, wish.resplit, wish.rolls_back, wish.dry_run


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a rebuild is."""

    stage: Stage = Stage.COPYING
    documents_done: int = 0
    documents_total: int = 0
    passages_done: int = 0
    passages_total: int = 0
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a new index answers beside the live one; None is what could not be measured."""

    queries: int = 0
    overlap_at_5: float | None = None
    labelled: int = 0
    precision_before: float | None = None
    precision_after: float | None = None


@dataclass(frozen=True, slots=True)
class Building:
    """A rebuild that is under way; `trouble` says in a sentence what it waits for."""

    id: str
    wish: Wish
    progress: Progress = Progress()
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Retired:
    """An index that is not live any more and will be dropped. `live_at_ms` is 0 when it never was live."""

    index: Index
    live_at_ms: int
    drop_at_ms: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a rebuild ended; `reason` is empty when the new index went live."""

    id: str
    reason: str
    message: str
    comparison: Comparison | None = None

    @property
    def switched(self) -> bool:
        """Whether the new index went live."""
        return not self.reason


@dataclass(frozen=True, slots=True)
class Standing:
    """All of it, in one reading. Times are milliseconds since 1970; the retired ones stand in the order they went, the last first."""

    live: Index | None = None
    live_at_ms: int = 0
    building: Building | None = None
    retired: Sequence[Retired] = ()
    comparison: Comparison | None = None
    outcome: Outcome | None = None

    def in_use(self) -> Sequence[Index]:
        """Return the live index and the one that is being built, as far as there are."""
        building = [self.building.wish.target] if self.building else []
        return [*([self.live] if self.live else []), *building]

    def indexes(self) -> Sequence[Index]:
        """Return every index that is recorded, the live one first."""
        return [*self.in_use(), *(retired.index for retired in self.retired)]
