"""Cuts the pages of a document into passages: small enough to embed whole in their context, whole enough to quote.

Sizes are tokens of the embedding model. A passage is a slice of its page, so its offsets are exact; it never crosses a
page, it begins and ends at the best place near its size, and its neighbours on the page overlap so that no sentence is
lost between two of them.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from rag.passage import HEADING_JOINER, Passage, in_context
from services.ingestor.pages import PAGE_BREAK, Page
from services.ingestor.structure import Cut, Heading, Structure, structure_of

SPLITTER_VERSION = "2"
"""Changes whenever the same text would be cut, or put in context, differently."""

MAX_PASSAGE_TOKENS = 254
"""What the model reads at once, without its two special tokens: the passage and what stands above it."""
MAX_PASSAGE_CHARS = 4096
"""Bounds passages of few tokens, such as a megabyte without a space."""
MAX_ATOM_CHARS = 512


class TokenCounter(Protocol):
    """The embedding model's tokenizer, without its special tokens. Both take time linear in the text's length."""

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        """The characters [start, end) of each token, in order, in code points of `text`."""
        ...

    def count(self, text: str) -> int:
        """How many tokens `text` has."""
        ...


@dataclass(frozen=True, slots=True)
class Sizes:
    """How long a passage may be and how much of the one before it repeats at most, in tokens."""

    tokens: int = 220
    overlap: int = 40


@dataclass(frozen=True, slots=True)
class Origin:
    """What passage ids are made from, besides the position: the same work done twice gives the same ids."""

    tenant: str
    document_id: str
    content_hash: str

    def passage_id(self, version: str, ordinal: int) -> str:
        """The id of the passage at a position, as a splitter of this version cuts it."""
        key = "\x1f".join((self.tenant, self.document_id, self.content_hash, version, str(ordinal)))
        return "psg_" + hashlib.sha256(key.encode()).hexdigest()[:32]


class Splitter:
    """Cuts one document. Feed it the pages in order; it remembers offsets and headings between them, no text.

    Passages are shorter than `sizes` says where the title and the headings above them leave less room.
    """

    def __init__(self, origin: Origin, counter: TokenCounter, sizes: Sizes, title: str = "") -> None:
        self._origin = origin
        self._counter = counter
        self._sizes = sizes
        self._title = title
        self._version = f"{SPLITTER_VERSION}:{sizes.tokens}:{sizes.overlap}"
        self._base = 0
        self._ordinal = 0
        self._is_first = True
        self._path: list[Heading] = []
        self._following: deque[Heading] = deque()
        self._above = ("", counter.count(in_context(title, "", "")))

    def cut(self, page: Page) -> list[Passage]:
        """All that `feed` gives."""
        return list(self.feed(page))

    def feed(self, page: Page) -> Iterator[Passage]:
        """The passages of the next page, or part of a page."""
        if not self._is_first and not page.continues:
            self._base += len(PAGE_BREAK)
        self._is_first = False
        structure = structure_of(page.text)
        self._following.extend(structure.headings)
        for start, end in _Packer(page.text, structure, self._counter, self._sizes, self._room).slices():
            heading, _ = self._above
            for begin, finish, tokens in self._fitting(page.text, start, end):
                yield self._passage(page, begin, finish, tokens, heading)
        while self._following:
            self._enter(self._following.popleft())
        self._base += len(page.text)

    def _room(self, start: int) -> int:
        """How many tokens a passage may have that begins at a character of the page; asked for in order."""
        while self._following and self._following[0].start <= start:
            self._enter(self._following.popleft())
        heading = HEADING_JOINER.join(above.title for above in self._path)
        if heading != self._above[0]:
            self._above = heading, self._counter.count(in_context(self._title, heading, ""))
        return MAX_PASSAGE_TOKENS - self._above[1]

    def _enter(self, heading: Heading) -> None:
        while self._path and self._path[-1].depth >= heading.depth:
            self._path.pop()
        self._path.append(heading)

    def _fitting(self, text: str, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """The slice with its count of tokens, in halves when the model would cut it.

        Halving is rare: cut out of its word, a piece may have more tokens than it had inside.
        """
        tokens = self._counter.count(text[start:end])
        if tokens <= MAX_PASSAGE_TOKENS - self._above[1] or end - start == 1:
            if tokens:  # nothing but invisible characters has no meaning to find
                yield start, end, tokens
            return
        middle = (start + end) // 2
        for begin, finish in (_stripped(text, start, middle), _stripped(text, middle, end)):
            if begin < finish:
                yield from self._fitting(text, begin, finish)

    def _passage(self, page: Page, start: int, end: int, tokens: int, heading: str) -> Passage:
        passage = Passage(
            id=self._origin.passage_id(self._version, self._ordinal),
            document_id=self._origin.document_id,
            ordinal=self._ordinal,
            text=page.text[start:end],
            heading=heading,
            page=page.number,
            char_start=self._base + start,
            char_end=self._base + end,
            token_count=tokens,
        )
        self._ordinal += 1
        return passage


class _Packer:
    """Packs the atoms of one text - tokens with the white space before them - into slices.

    `room` says how many tokens one that begins at a character may have.
    """

    def __init__(
        self, text: str, structure: Structure, counter: TokenCounter, sizes: Sizes, room: Callable[[int], int]
    ) -> None:
        self._text = text
        self._sizes = sizes
        self._room = room
        self._starts, counts = _atoms(text, counter)
        self._ends = [*self._starts[1:], len(text)] if self._starts else []
        self._tokens = [0]
        for count in counts:
            self._tokens.append(self._tokens[-1] + count)
        self._worth = self._cuts(structure)
        self._headings = [index for index, cut in enumerate(self._worth) if cut == Cut.HEADING]

    def slices(self) -> Iterator[tuple[int, int]]:
        """Character ranges without white space at their ends, in order, covering all else."""
        first, done, last = 0, 0, len(self._starts)
        while done < last:
            begin = _first_char(self._text, self._starts[first], self._ends[first])
            most = min(self._sizes.tokens, self._room(begin))
            end = self._end(first, done, most)
            start_char, end_char = _stripped(self._text, self._starts[first], self._ends[end - 1])
            if start_char < end_char:
                yield start_char, end_char
            first, done = self._next_start(first, end, min(self._sizes.overlap, most // 2)), end

    def _end(self, first: int, done: int, most: int) -> int:
        """Where the passage of `most` tokens that begins at atom `first` ends; always after `done`."""
        furthest = self._furthest(first, done, most)
        # A section begins a passage of its own, unless too little stands before it.
        quarter = bisect_left(self._tokens, self._tokens[first] + most // 4)
        at = bisect_left(self._headings, max(quarter, done + 1))
        if at < len(self._headings) and self._headings[at] <= furthest:
            return self._headings[at]
        if furthest == len(self._starts):
            return furthest
        half = bisect_left(self._tokens, (self._tokens[first] + self._tokens[furthest]) // 2)
        candidates = range(furthest, max(half, done + 1, first + 1) - 1, -1)
        return max(candidates, key=self._worth.__getitem__, default=furthest)

    def _furthest(self, first: int, done: int, most: int) -> int:
        by_tokens = bisect_right(self._tokens, self._tokens[first] + most) - 1
        by_chars = bisect_right(self._ends, self._starts[first] + MAX_PASSAGE_CHARS)
        return max(min(by_tokens, by_chars, len(self._starts)), done + 1)

    def _next_start(self, first: int, end: int, overlap: int) -> int:
        """Where the next passage begins: a little before `end`, at a good place, but never in another section."""
        if end == len(self._starts) or self._worth[end] == Cut.HEADING:
            return end
        earliest = bisect_left(self._tokens, self._tokens[end] - overlap)
        near = bisect_left(self._starts, self._starts[end] - MAX_PASSAGE_CHARS // 4)
        section = bisect_right(self._headings, end)
        begun = self._headings[section - 1] if section else 0
        candidates = range(max(earliest, near, begun, first + 1), end)
        best = max(candidates, key=self._worth.__getitem__, default=end)
        return best if best < end and self._worth[best] > Cut.INSIDE_WORD else end

    def _cuts(self, structure: Structure) -> list[Cut]:
        """The worth of a cut before each atom; one more for the end of the text."""
        worth = []
        for start, end in zip(self._starts, self._ends, strict=True):
            first_char = _first_char(self._text, start, end)
            plain = Cut.WORD if first_char > start or start == 0 else Cut.INSIDE_WORD
            worth.append(structure.cuts.get(first_char, plain))
        return [*worth, Cut.PARAGRAPH]


def _atoms(text: str, counter: TokenCounter) -> tuple[list[int], list[int]]:
    """Starts and token counts of pieces that cover the text: each a token and what stands before it, none long."""
    starts: list[int] = []
    counts: list[int] = []
    previous = 0
    ends = [end for _, end in counter.offsets(text)]
    for end in [*ends, len(text)] if not ends or ends[-1] < len(text) else ends:
        if end <= previous:
            # Two tokens of one character belong together.
            if counts:
                counts[-1] += 1
            continue
        pieces = range(previous, end, MAX_ATOM_CHARS)
        starts.extend(pieces)
        counts.extend([1] if len(pieces) == 1 else [counter.count(text[at : at + MAX_ATOM_CHARS]) for at in pieces])
        previous = end
    return starts, counts


def _first_char(text: str, start: int, end: int) -> int:
    while start < end and text[start].isspace():
        start += 1
    return start


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), end - (len(piece) - len(piece.rstrip()))
