"""Whose turn it is, and who shares the run."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

from services.embedder.model import Bounds, Piece
from services.embedder.tickets import Ticket

_LOOK_AHEAD = 512
"""How many waiting pieces are looked at for one run: a long queue must not make the choice slow."""


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """One piece in the queue."""

    turn: int
    arrived: float
    """On the batcher's clock, in seconds."""
    piece: Piece
    ticket: Ticket
    index: int
    """Its place in its ticket."""


class FairQueue:
    """The waiting pieces in the order of their turns.

    A piece's turn comes after as many tokens as its own submission put before it (start-time fair queueing), so one
    question does not wait behind all of a document, and no document waits for ever.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._waiting: list[Waiting] = []
        self._turn = 0
        self.tokens = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, pieces: Sequence[Piece], ticket: Ticket, now: float) -> None:
        """Queue the pieces of one submission."""
        turn = self._turn
        for index, piece in enumerate(pieces):
            turn += piece.tokens
            self.tokens += piece.tokens
            bisect.insort(self._waiting, Waiting(turn, now, piece, ticket, index), key=lambda item: item.turn)

    def oldest(self) -> float:
        """Return when the piece arrived that waits longest."""
        return min(item.arrived for item in self._waiting)

    def tickets(self) -> set[Ticket]:
        """Return the tickets that have a piece here."""
        return {item.ticket for item in self._waiting}

    def drop_closed(self) -> None:
        """Forget the pieces that nobody waits for."""
        self._keep([item for item in self._waiting if not item.ticket.closed])

    def take_run(self) -> Sequence[Waiting]:
        """Take out whoever's turn it is and those nearest in length, by length, so that little of the run is padding."""
        lead = self._waiting[0]
        self._turn = lead.turn
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
