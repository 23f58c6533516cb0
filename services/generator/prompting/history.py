"""The conversation so far, as much of it as a model is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import dropwhile

from services.generator.citing.citations import CitationChecker
from services.generator.prompting.tokens import MESSAGE_TOKENS
from services.generator.question import Role, Turn


def fitting(turns: Sequence[Turn], budget_tokens: int, count: Callable[[str], int]) -> tuple[Turn, ...]:
    """Return the newest turns that fit into the budget, oldest first, beginning with one of the user.

    Turns are whole: one that does not fit is left out with all before it. Answers lose their citation markers, which number
    the passages of another prompt.

    Args:
        turns: The conversation, oldest turn first.
        budget_tokens: For the turns, with what a chat format adds to each.
        count: Tells the tokens of a text.
    """
    chosen: list[Turn] = []
    left = budget_tokens
    for turn in filter(_says_something, map(_without_markers, reversed(turns))):
        left -= count(turn.text) + MESSAGE_TOKENS
        if left < 0:
            break
        chosen.append(turn)
    return tuple(dropwhile(lambda turn: turn.role is Role.ASSISTANT, reversed(chosen)))


def _without_markers(turn: Turn) -> Turn:
    """Return an answer as one without sources would be released: every marker is dropped. What a user wrote stays."""
    if turn.role is Role.USER:
        return turn
    checker = CitationChecker(())
    released = [*checker.feed(turn.text), *checker.close()]
    return replace(turn, text="".join(piece for piece in released if isinstance(piece, str)))


def _says_something(turn: Turn) -> bool:
    return bool(turn.text.strip())
