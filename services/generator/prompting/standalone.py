"""A question of a conversation becomes one that can be understood, and searched for, by itself."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol

from rag.runtime.context import bound, current, remaining_s
from rag.runtime.errors import RagError
from rag.runtime.logs import get_logger
from services.generator.events import FinishReason, Notice
from services.generator.prompting.prompt import Prompt, Prompts
from services.generator.question import MAX_QUESTION_CHARS, Question, Role
from services.generator.writing.chat import Finish

log = get_logger(__name__)

SKIPPED = Notice(
    "REWRITE_SKIPPED",
    "The question was not rewritten by the language model, so the search used it joined with the question before it.",
)
_LEAST_LEFT_S = 2.0
_SHARE = 0.2
_MOST_CHARS = 1_000
_LABEL = re.compile(r"(?:(?:last|rewritten|standalone)\s+)?question\s*[:：]\s*", re.IGNORECASE)
_QUOTED = {'"': '"', "'": "'", "`": "`", "“": "”", "„": "“", "«": "»", "»": "«", "‘": "’", "「": "」", "『": "』"}


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A question that can be searched for."""

    text: str
    """Made of what users and models wrote: to be searched for, never to be obeyed."""
    finish: Finish | None = None
    """What the model took, when one answered."""
    notice: Notice | None = None


class Writers(Protocol):
    """The language models that can be asked, one after the other."""

    def stream(self, prompt: Prompt) -> AsyncGenerator[str | Finish | Notice]:
        """Yield text, then one Finish; leaving the iterator ends the work behind it. A failure raises a RagError."""
        ...


class Standalone:
    """Rewrites questions.

    Args:
        prompts: Make the model's prompt.
        writers: The models; None when there is none.
        timeout_s: The longest that the model may take, in seconds; 0 asks none.
    """

    def __init__(self, prompts: Prompts, writers: Writers | None, timeout_s: float) -> None:
        self._prompts = prompts
        self._writers = writers
        self._timeout_s = timeout_s

    async def of(self, question: Question) -> Rewritten:
        """Return the question as it can be understood by itself; one without a conversation is that already.

        The model gets a fifth of the time left at most. Without one, or when it fails, the question before is put in front.

        Raises:
            DeadlineExceeded: when no time is left.
        """
        if not question.history:
            return Rewritten(question.text)
        prompt = self._prompts.render_rewriting(question)
        if self._writers is None or self._timeout_s <= 0 or prompt is None:
            return Rewritten(_joined(question))
        left_s = remaining_s(math.inf)
        if left_s < _LEAST_LEFT_S:
            return _skipped(question, "NO_TIME")
        limit_s = min(self._timeout_s, _SHARE * left_s)
        try:
            # The models share the limit like a deadline of the call, so that a second one gets its time when the first hangs.
            with bound(replace(current(), deadline=time.monotonic() + limit_s)):
                async with asyncio.timeout(limit_s):
                    written, finish = await _ask(self._writers, prompt)
        except TimeoutError:
            return _skipped(question, "TIMEOUT")
        except RagError as error:
            return _skipped(question, error.reason)
        text = cleaned(written)
        if not text or finish is None or finish.reason is not FinishReason.STOP:
            return _skipped(question, "NO_QUESTION", finish)
        return Rewritten(text, finish)


async def _ask(writers: Writers, prompt: Prompt) -> tuple[str, Finish | None]:
    """Return what the model wrote, a bounded part of it, and its end."""
    written = ""
    finish: Finish | None = None
    async with aclosing(writers.stream(prompt)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Finish):
                finish = piece
            elif isinstance(piece, str) and len(written) < 2 * _MOST_CHARS:
                written += piece
    return written, finish


def cleaned(written: str) -> str:
    """Return the question a model wrote: one line, without what some put around it; empty when there is none."""
    text = _unquoted(" ".join(written.split()))
    text = _unquoted(_LABEL.sub("", text, count=1) if _LABEL.match(text) else text)
    return text[:_MOST_CHARS].strip() if any(character.isalnum() for character in text) else ""


def _unquoted(text: str) -> str:
    inside = text[1:-1]
    around = len(text) > 1 and _QUOTED.get(text[0]) == text[-1] and not {text[0], text[-1]} & set(inside)
    return inside.strip() if around else text


def _joined(question: Question) -> str:
    """Return the question with the one before it in front, as much of that as a question may hold."""
    before = next((turn.text for turn in reversed(question.history) if turn.role is Role.USER), "")
    room = MAX_QUESTION_CHARS - len(question.text) - 1
    return f"{before[: max(0, room)]} {question.text}".strip() if before and room > 0 else question.text


def _skipped(question: Question, reason: str, finish: Finish | None = None) -> Rewritten:
    log.warning("rewriting_skipped", reason=reason)
    return Rewritten(_joined(question), finish, SKIPPED)
