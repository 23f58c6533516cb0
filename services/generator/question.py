"""A question with its parameters, checked once at the edge."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from rag.history import MAX_HISTORY_CHARS, MAX_TURN_CHARS, MAX_TURNS
from rag.runtime.errors import InvalidInput

MAX_QUESTION_CHARS = 8_192
MAX_TOP_K = 100
MAX_ANSWER_TOKENS = 8_192


class Role(StrEnum):
    """Who spoke."""

    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation."""

    role: Role
    text: str


class Mode(StrEnum):
    """Which legs of the search run."""

    HYBRID = "hybrid"
    DENSE = "dense"
    KEYWORD = "keyword"


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a question gets when it says nothing."""

    top_k: int = 8
    min_score: float = 0.25
    max_tokens: int = 1_024
    temperature: float = 0.2


@dataclass(frozen=True, slots=True)
class Question:
    """A question that passed all checks."""

    text: str
    top_k: int
    mode: Mode
    min_score: float | None
    """The least cosine similarity; None in keyword mode, which knows none."""
    filter: bytes
    """The search filter as it came, serialised: the retriever alone reads it."""
    max_tokens: int
    temperature: float
    history: tuple[Turn, ...] = ()
    """The conversation so far, oldest turn first, without this question."""
    use_cache: bool = True


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it came, None where it says nothing."""

    text: str
    top_k: int | None = None
    mode: Mode = Mode.HYBRID
    min_score: float | None = None
    filter: bytes = b""
    max_tokens: int | None = None
    temperature: float | None = None
    history: tuple[Turn, ...] = ()
    use_cache: bool = True


def checked(asked: Asked, defaults: Defaults) -> Question:
    """Return the question with its gaps filled.

    Raises:
        InvalidInput: EMPTY_QUESTION, QUESTION_TOO_LONG, BAD_TOP_K, BAD_MIN_SCORE, BAD_MAX_TOKENS, BAD_TEMPERATURE,
            TOO_MANY_TURNS, EMPTY_TURN, TURN_TOO_LONG, HISTORY_TOO_LONG.
    """
    return Question(
        text=_text(asked.text),
        top_k=_bounded(asked.top_k, defaults.top_k, MAX_TOP_K, "top_k", "BAD_TOP_K"),
        mode=asked.mode,
        min_score=_min_score(asked, defaults),
        filter=asked.filter,
        max_tokens=_bounded(asked.max_tokens, defaults.max_tokens, MAX_ANSWER_TOKENS, "max_tokens", "BAD_MAX_TOKENS"),
        temperature=_temperature(asked.temperature, defaults.temperature),
        history=_history(asked.history),
        use_cache=asked.use_cache,
    )


def _history(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    if len(turns) > MAX_TURNS:
        raise InvalidInput(f"The history has {len(turns)} turns; at most {MAX_TURNS} are allowed.", "TOO_MANY_TURNS")
    for number, turn in enumerate(turns, start=1):
        if not turn.text.strip():
            raise InvalidInput(f"Turn {number} of the history is empty.", "EMPTY_TURN", turn=str(number))
        if len(turn.text) > MAX_TURN_CHARS:
            message = f"Turn {number} of the history is longer than {MAX_TURN_CHARS} characters."
            raise InvalidInput(message, "TURN_TOO_LONG", turn=str(number), limit=str(MAX_TURN_CHARS))
    if sum(len(turn.text) for turn in turns) > MAX_HISTORY_CHARS:
        message = f"The history is longer than {MAX_HISTORY_CHARS} characters."
        raise InvalidInput(message, "HISTORY_TOO_LONG", limit=str(MAX_HISTORY_CHARS))
    return turns


def _text(text: str) -> str:
    if len(text) > MAX_QUESTION_CHARS:
        message = f"The question has {len(text)} characters; at most {MAX_QUESTION_CHARS} are allowed."
        raise InvalidInput(message, "QUESTION_TOO_LONG", length=str(len(text)), limit=str(MAX_QUESTION_CHARS))
    if not text.strip():
        raise InvalidInput("The question is empty.", "EMPTY_QUESTION")
    return text


def _bounded(value: int | None, default: int, most: int, field: str, reason: str) -> int:
    if value is None:
        return default
    if not 1 <= value <= most:
        raise InvalidInput(f"{field} must be from 1 to {most}.", reason, value=str(value))
    return value


def _min_score(asked: Asked, defaults: Defaults) -> float | None:
    score = asked.min_score
    if asked.mode is Mode.KEYWORD:
        if score is not None:
            raise InvalidInput("min_score is not allowed in keyword mode, which knows no similarity.", "BAD_MIN_SCORE")
        return None
    if score is None:
        return defaults.min_score
    if not (math.isfinite(score) and -1 <= score <= 1):
        raise InvalidInput("min_score must be a number from -1 to 1.", "BAD_MIN_SCORE", value=str(score))
    return score


def _temperature(value: float | None, default: float) -> float:
    if value is None:
        return default
    if not (math.isfinite(value) and 0 <= value <= 2):
        raise InvalidInput("temperature must be a number from 0 to 2.", "BAD_TEMPERATURE", value=str(value))
    return value
