"""Whose turn it is, and who shares the run."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field

from services.embedder.caching import Document
from services.embedder.model import Bounds, Piece
from services.embedder.tickets import Ticket

_LOOK_AHEAD = 512
"""How many waiting pieces are looked at for one run: a long queue must not make the choice slow."""


@dataclass(slots=True, eq=False)
class Waiting:
    """One piece on its way through the model, and all who wait for it."""

    key: str
    piece: Piece
    turn: int
    arrived: float
    """On the batcher's clock, in seconds."""
    waiters: list[tuple[Ticket, int]] = field(default_factory=list)
    """Tickets, each with the place of this piece in it."""
    asked_by: set[Document | None] = field(default_factory=set)

    @property
    def wanted(self) -> bool:
        """Whether somebody still waits for it."""
        return any(not ticket.closed for ticket, _ in self.waiters)

    def join(self, ticket: Ticket, index: int, document: Document | None) -> None:
        """Let one more wait for it."""
        self.waiters.append((ticket, index))
        self.asked_by.add(document)


class FairQueue:
    """The waiting pieces in the order of their turns.

    A piece's turn comes after as many tokens as its own submission put before it (start-time fair queueing), so one
    question does not wait behind all of a document, and no document waits for ever.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._waiting: list[Waiting] = []
        self.turn = 0
        """The turn that the model is at."""
        self.tokens = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, item: Waiting) -> None:
        """Queue a piece."""
        self.tokens += item.piece.tokens
        bisect.insort(self._waiting, item, key=lambda waiting: waiting.turn)

    def hasten(self, item: Waiting, turn: int) -> None:
        """Give a piece an earlier turn, if it is here and this one is earlier."""
        if turn < item.turn and item in self._waiting:
            self._waiting.remove(item)
            item.turn = turn
            bisect.insort(self._waiting, item, key=lambda waiting: waiting.turn)

    def oldest(self) -> float:
        """Return when the piece arrived that waits longest."""
        return min(item.arrived for item in self._waiting)

    def drop_unwanted(self) -> Sequence[Waiting]:
        """Take out the pieces that nobody waits for."""
        dropped = [item for item in self._waiting if not item.wanted]
        if dropped:
            self._keep([item for item in self._waiting if item.wanted])
        return dropped

    def take_all(self) -> Sequence[Waiting]:
        """Take out everything."""
        taken = self._waiting
        self._keep([])
        return taken

    def take_run(self) -> Sequence[Waiting]:
        """Take out whoever's turn it is and those nearest in length, by length, so that little of the run is padding."""
        lead = self._waiting[0]
        self.turn = lead.turn
        near = sorted(self._waiting[:_LOOK_AHEAD], key=lambda item: item.piece.tokens)
        first = last = near.index(lead)
        while last + 1 < len(near) and self._fits(near[first : last + 2]):
            last += 1
        while first > 0 and self._fits(near[first - 1 : last + 1]):
            first -= 1
        run = near[first : last + 1]
        taken = set(run)
        self._keep([item for item in self._waiting if item not in taken])
        return run

    def _fits(self, run: Sequence[Waiting]) -> bool:
        if len(run) > self._bounds.pieces:
            return False
        if not self._bounds.padded:
            return sum(item.piece.tokens for item in run) <= self._bounds.tokens
        shortest, longest = run[0].piece.tokens, run[-1].piece.tokens
        # Twice as long at most: a short question must not pay for a long passage.
        return longest <= 2 * shortest and len(run) * longest <= self._bounds.tokens

    def _keep(self, waiting: list[Waiting]) -> None:
        self._waiting = waiting
        self.tokens = sum(item.piece.tokens for item in waiting)
