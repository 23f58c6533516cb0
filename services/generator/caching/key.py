"""The key of an answer: all that it depends on, beside the tenant and the documents."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Sequence
from typing import Any

from services.generator.caching.entries import Looked, Stamp
from services.generator.question import Question

_VERSION = 1
"""Grows when answers are made, or questions are compared, in another way."""


def look(question: Question, ground: Sequence[str], stamp: Stamp) -> Looked:
    """Return where the answer to a question is kept.

    Args:
        question: The question.
        ground: What every answer depends on: the version of the prompt, who writes.
        stamp: The state of the catalogue now.
    """
    ours = [_VERSION, *ground, "index", stamp.index]
    bucket = _digest([*ours, "parameters", *_parameters(question)])
    return Looked(_digest([bucket, normalised(question.text)]), bucket, stamp)


def normalised(text: str) -> str:
    """Return a question so that those that differ in white space or in the coding of accents only are the same.

    Upper and lower case stay: to a model, "Polish" and "polish" are not one question.
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


def _parameters(question: Question) -> list[Any]:
    return [
        [[turn.role.value, turn.text] for turn in question.history],
        question.mode.value,
        question.top_k,
        question.min_score,
        question.filter.hex(),
        question.max_tokens,
        question.temperature,
    ]


def _digest(parts: list[Any]) -> str:
    # As JSON, so that where one part ends and the next begins is never in doubt.
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
