"""The parts of an answer, between the work that makes it and those who read it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from services.generator.events import CacheLayer, Checks, Citation, FinishReason, Notice, Sources, Stage, Token

P = TypeVar("P")

_LONGEST_TOKEN = 16_384
"""Text that waits is joined up to about so many characters."""


@dataclass(slots=True)
class Written:
    """The end of an answer, and what it took; its first reader is charged."""

    reason: FinishReason
    provider: str
    model: str
    layer: CacheLayer = CacheLayer.NONE
    checks: Checks = field(default_factory=Checks)
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    estimated: bool = False
    cost_usd: float | None = 0.0
    fallback_used: bool = False
    is_charged: bool = False


@dataclass(frozen=True, slots=True)
class Begun:
    """A stage began, at this moment of the clock."""

    stage: Stage
    at: float


Part = Begun | Sources | Token | Citation | Notice | Written
"""What an answer is made of, in the order of its events."""


def joined(parts: Iterable[P]) -> Iterator[P | Token]:
    """Join the pieces of text that stand side by side: they waited together, so they leave together."""
    texts: list[str] = []
    length = 0
    for part in parts:
        if isinstance(part, Token) and length < _LONGEST_TOKEN:
            texts.append(part.text)
            length += len(part.text)
            continue
        if texts:
            yield Token("".join(texts))
        texts, length = [], 0
        if isinstance(part, Token):
            texts, length = [part.text], len(part.text)
        else:
            yield part
    if texts:
        yield Token("".join(texts))
