"""A question with its parameters, checked once at the edge."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from rag.runtime.errors import InvalidInput

MAX_QUESTION_CHARS = 8_192
MAX_TOP_K = 100
MAX_ANSWER_TOKENS = 8_192


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


def checked(asked: Asked, defaults: Defaults) -> Question:
    """Return the question with its gaps filled.

    Raises:
        InvalidInput: EMPTY_QUESTION, QUESTION_TOO_LONG, BAD_TOP_K, BAD_MIN_SCORE, BAD_MAX_TOKENS, BAD_TEMPERATURE.
    """
    return Question(
        text=_text(asked.text),
        top_k=_bounded(asked.top_k, defaults.top_k, MAX_TOP_K, "top_k", "BAD_TOP_K"),
        mode=asked.mode,
        min_score=_min_score(asked, defaults),
        filter=asked.filter,
        max_tokens=_bounded(asked.max_tokens, defaults.max_tokens, MAX_ANSWER_TOKENS, "max_tokens", "BAD_MAX_TOKENS"),
        temperature=_temperature(asked.temperature, defaults.temperature),
    )


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
