"""Passages on their way to the embedder: as many in one call as are at hand, and no waiting for company."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from rag.passage import Passage

_MOST_PASSAGES = 64
_MOST_CHARS = 131_072
"""Keeps a call under a megabyte, whatever the script."""


@dataclass(frozen=True, slots=True)
class Filled:
    """How full a batch is."""

    passages: int = 0
    tokens: int = 0
    chars: int = 0

    def plus(self, passage: Passage) -> Filled:
        """As full as with one more passage."""
        return Filled(self.passages + 1, self.tokens + passage.token_count, self.chars + len(passage.text))

    def is_over(self, max_tokens: int) -> bool:
        """Whether that is too much for one call. A passage alone never is."""
        too_much = self.passages > _MOST_PASSAGES or self.tokens > max_tokens or self.chars > _MOST_CHARS
        return self.passages > 1 and too_much


class Batches:
    """A bounded line of passages, taken out in batches of at most `max_tokens` tokens, in order.

    A full batch can be taken at once. Less than that only while no other batch is being worked on or when nothing more will
    come: so the model never waits while text is at hand, and calls are full when there is a line.
    """

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self._line: deque[Passage] = deque()
        self._ahead = Filled()
        self._at_work = 0
        self._ended = False
        self._changed = asyncio.Condition()

    async def put(self, passage: Passage) -> None:
        """Stand in line; waits while a full batch stands there already."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._is_full)
            self._line.append(passage)
            self._ahead = self._ahead.plus(passage)
            self._changed.notify_all()

    async def end(self) -> None:
        """Say that nothing more will come."""
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    async def take(self) -> list[Passage]:
        """The next batch, which is at work from now on; empty at the end."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._ended or self._is_full or (self._line and not self._at_work))
            batch, filled = [], Filled()
            while self._line and not (more := filled.plus(self._line[0])).is_over(self._max_tokens):
                batch.append(self._line.popleft())
                filled = more
            self._ahead = _filled(self._line)
            self._at_work += 1
            self._changed.notify_all()
            return batch

    async def done(self) -> None:
        """Say that the work on a batch is done."""
        async with self._changed:
            self._at_work -= 1
            self._changed.notify_all()

    @property
    def _is_full(self) -> bool:
        return self._ahead.is_over(self._max_tokens)


def _filled(passages: deque[Passage]) -> Filled:
    filled = Filled()
    for passage in passages:
        filled = filled.plus(passage)
    return filled
