"""Answers that somebody got: what an opinion about one of them is tied to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer that was given."""

    answer_id: str
    question: str
    document_ids: tuple[str, ...]
    """The documents it cited, each once."""


class AnsweredNotes(Protocol):
    """Where the gate notes the answers that went out."""

    async def note(self, tenant: str, answered: Answered) -> None:
        """Keep an answer, so that an opinion about it can be taken.

        Never raises because of its store: an answer is worth more than what people will think of it.
        """
        ...
