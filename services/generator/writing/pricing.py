"""What answers cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from services.generator.writing.chat import Finish


@dataclass(frozen=True, slots=True)
class Price:
    """What a million tokens of a model cost, in US dollars."""

    input: float
    output: float
    cached_input: float | None = None
    """Of tokens read that the server had cached; None when they cost the same as others."""

    def __post_init__(self) -> None:
        """Refuse what is no price."""
        if not all(math.isfinite(usd) and usd >= 0 for usd in (self.input, self.output, self.cached_input or 0)):
            raise ValueError("a price is a finite number of US dollars, not below 0")


class Prices:
    """The prices of models.

    Args:
        table: By the model's name as it is asked for.
    """

    def __init__(self, table: Mapping[str, Price]) -> None:
        self._table = dict(table)

    def cost_usd(self, finish: Finish) -> float | None:
        """Return what an answer cost in US dollars: nothing without tokens, None when the price is not known."""
        if finish.input_tokens == finish.output_tokens == 0:
            return 0.0
        price = self._table.get(finish.asked)
        if price is None:
            return None
        cached_usd = price.input if price.cached_input is None else price.cached_input
        cached = min(finish.cached_input_tokens, finish.input_tokens)
        read = (finish.input_tokens - cached) * price.input + cached * cached_usd
        return (read + finish.output_tokens * price.output) / 1_000_000
