"""Picks the sentences of the sources that answer a question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.generator.events import Source
from services.generator.extraction.candidates import candidates
from services.generator.extraction.choice import choose
from services.generator.extraction.scoring import weigh


@dataclass(frozen=True, slots=True)
class Extract:
    """A sentence as it is shown, and the number of its source."""

    text: str
    number: int


def extract(question: str, sources: Sequence[Source]) -> list[Extract]:
    """Return at most 5 sentences that answer the question; none only when the sources hold no sentence.

    The one that answers best comes first, the others in the order in which they stand in the sources. Each is word for word
    what its source says, as `quotable.shown` shows it; see there what stands between the parts of tables and lists.
    """
    found = [candidate for source in sources for candidate in candidates(source)]
    weighed, weights = weigh(question, found)
    chosen = choose(weighed, weights)
    order = chosen[:1] + sorted(chosen[1:])
    return [Extract(found[place].text, found[place].source.number) for place in order]
