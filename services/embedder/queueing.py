"""Whose turn it is, and who shares the run."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from services.embedder.caching import Document
from services.embedder.model import Bounds, Piece
from services.embedder.tickets import Ticket

_LOOK_AHEAD = 512
"""How many waiting pieces are looked at for one run: a long queue must not make the choice slow."""
_QUERIES_IN_A_ROW = 7
"""So many runs begin with a query while documents wait; the next one is a document's, so that none waits for ever."""
_FLOWS = 1_000


@dataclass(frozen=True, slots=True)
class Flow:
    """Whose pieces share the model fairly with those of others: a tenant's queries, or its documents."""

    tenant: str
    is_document: bool


@dataclass(slots=True, eq=False)
class Waiting:
    """One piece on its way through the model, and all who wait for it."""

    key: str
    piece: Piece
    flow: Flow
    turn: int
    arrived: float
    """On the batcher's clock, in seconds."""
    waiters: list[tuple[Ticket, int]] = field(default_factory=list)
    """Tickets, each with the place of this piece in it."""
    asked_by: set[Document | None] = field(default_factory=set)

    @property
    def order(self) -> tuple[bool, int]:
        """Its place: queries before documents, then by turn."""
        return self.flow.is_document, self.turn

    @property
    def wanted(self) -> bool:
        """Whether somebody still waits for it."""
        return any(not ticket.closed for ticket, _ in self.waiters)

    def join(self, ticket: Ticket, index: int, document: Document | None) -> None:
        """Let one more wait for it."""
        self.waiters.append((ticket, index))
        self.asked_by.add(document)


class FairQueue:
    """The waiting pieces, queries before documents, in the order of their turns.

    A piece's turn comes after as many tokens as its own tenant put before it (start-time fair queueing), so nobody waits behind all
    that another tenant asked for, however many calls he makes.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._waiting: list[Waiting] = []
        self._turns = {False: 0, True: 0}
        """The turns that the model is at, of queries and of documents."""
        self._ends: dict[Flow, int] = {}
        """The last turn that each flow was given."""
        self._queries_in_a_row = 0
        self.tokens = 0
        self._tokens_of: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._waiting)

    def begin(self, flow: Flow) -> int:
        """Return the turn behind which the next pieces of a flow come."""
        return max(self._turns[flow.is_document], self._ends.get(flow, 0))

    def end(self, flow: Flow, turn: int) -> None:
        """Take note of the last turn that a flow was given."""
        if len(self._ends) >= _FLOWS:
            self._ends = {one: last for one, last in self._ends.items() if last > self._turns[one.is_document]}
        self._ends[flow] = turn

    def share(self, tenant: str, tokens: int) -> float:
        """Return how much of a full queue these tokens and those that the tenant has in it are, 1 for its fair part."""
        of_tenants = len(self._tokens_of.keys() | {tenant})
        return (self._tokens_of[tenant] + tokens) * of_tenants / max(1, self.tokens + tokens)

    def add(self, item: Waiting) -> None:
        """Queue a piece."""
        self.tokens += item.piece.tokens
        self._tokens_of[item.flow.tenant] += item.piece.tokens
        bisect.insort(self._waiting, item, key=_order)

    def hasten(self, item: Waiting, flow: Flow, turn: int) -> None:
        """Give a piece an earlier place, if it is here and this one is earlier."""
        if (flow.is_document, turn) < item.order and item in self._waiting:
            self._waiting.remove(item)
            item.flow, item.turn = Flow(item.flow.tenant, flow.is_document), turn
            bisect.insort(self._waiting, item, key=_order)

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
        start = self._next()
        lead = self._waiting[start]
        self._turns[lead.flow.is_document] = lead.turn
        near = sorted(self._waiting[start : start + _LOOK_AHEAD], key=lambda item: item.piece.tokens)
        first = last = near.index(lead)
        while last + 1 < len(near) and self._fits(near[first : last + 2]):
            last += 1
        while first > 0 and self._fits(near[first - 1 : last + 1]):
            first -= 1
        run = near[first : last + 1]
        taken = set(run)
        self._keep([item for item in self._waiting if item not in taken])
        return run

    def _next(self) -> int:
        """Return the index of the piece whose turn it is."""
        documents = bisect.bisect_left(self._waiting, (True, 0), key=_order)
        is_both = 0 < documents < len(self._waiting)
        if is_both and self._queries_in_a_row >= _QUERIES_IN_A_ROW:
            self._queries_in_a_row = 0
            return documents
        self._queries_in_a_row = self._queries_in_a_row + 1 if is_both else 0
        return 0

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
        self._tokens_of = Counter()
        for item in waiting:
            self._tokens_of[item.flow.tenant] += item.piece.tokens
        self.tokens = self._tokens_of.total()
        if not waiting:
            self._ends.clear()


def _order(item: Waiting) -> tuple[bool, int]:
    return item.order
