"""The prompt: numbered passages within a budget, fenced by a boundary that nothing in it can contain."""

from __future__ import annotations

import secrets
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from services.generator.events import Source
from services.generator.prompting.history import fitting
from services.generator.prompting.templates import Templates
from services.generator.prompting.tokens import messages_at_most
from services.generator.question import Question, Role, Turn
from services.generator.retrieval import Hit

_LABEL_CHARS = 200
_ANY_BOUNDARY = "9f86d081884c7d659a2feaa0c55ad015"
"""Stands for the one to come while tokens are counted."""
_STANDALONE_TOKENS = 128


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is given: the question and the sources as they are, and both rendered as messages."""

    question: str
    """The question as it can be understood by itself."""
    sources: tuple[Source, ...]
    system: str
    user: str
    max_tokens: int
    temperature: float
    history: tuple[Turn, ...] = ()
    """The turns of the conversation that fit, between the system's message and the user's."""

    def messages(self) -> list[tuple[str, str]]:
        """Return role and text of each message: the system's, then a user's and an assistant's by turns, a user's last.

        Some servers refuse two messages of one role in a row, so they are joined.
        """
        messages = [("system", self.system)]
        for turn in (*self.history, Turn(Role.USER, self.user)):
            role, text = turn.role.value, turn.text
            if messages[-1][0] == role:
                text = f"{messages.pop()[1]}\n\n{text}"
            messages.append((role, text))
        return messages

    def tokens_at_most(self) -> int:
        """Return an upper bound of the tokens of all messages."""
        return messages_at_most(self.messages())


class Prompts:
    """Makes prompts.

    Args:
        templates: What models are told.
        count: Tells the tokens of a text, or never fewer.
        passage_budget_tokens: For the passages of a prompt, with their labels and fences.
        history_budget_tokens: For the conversation before the question.
        new_boundary: Makes a text that nobody can guess.
    """

    def __init__(
        self,
        templates: Templates,
        count: Callable[[str], int],
        passage_budget_tokens: int,
        history_budget_tokens: int,
        *,
        new_boundary: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self._templates = templates
        self._count = count
        self._passage_budget_tokens = passage_budget_tokens
        self._history_budget_tokens = history_budget_tokens
        self._new_boundary = new_boundary
        self.version = f"{templates.version}-{passage_budget_tokens}-{history_budget_tokens}"
        """What an answer depends on beside the question, the sources and the model."""

    def select(self, hits: Iterable[Hit]) -> tuple[Source, ...]:
        """Return the hits that fit into the budget, best first, numbered from 1.

        A hit that does not fit is left out and the next is tried. When not even one fits, the best one is cut.
        """
        hits = list(hits)
        chosen: list[Source] = []
        left = self._passage_budget_tokens
        for hit in hits:
            source = _numbered(len(chosen) + 1, hit)
            # A word is a token at least, and words are counted a hundred times faster than tokens.
            if len(hit.passage.text.split()) <= left and (cost := self._cost(source)) <= left:
                chosen.append(source)
                left -= cost
        if hits and not chosen:
            chosen.append(self._cut(_numbered(1, hits[0])))
        return tuple(chosen)

    def render(self, question: Question, standalone: str, sources: Sequence[Source]) -> Prompt:
        """Return the prompt of a question.

        Args:
            question: As it was asked: the model reads it after the conversation.
            standalone: The question as it can be understood by itself.
            sources: From `select`.
        """
        history = self._history(question)
        blocks = [_block("", source) for source in sources]
        boundary = self._unheard([question.text, *blocks, *(turn.text for turn in history)])
        passages = "".join(_block(boundary, source) for source in sources)
        return Prompt(
            question=standalone,
            sources=tuple(sources),
            system=self._templates.answer.substitute(boundary=boundary),
            user=f"{passages}{boundary} end of the passages\n\nQuestion: {question.text}",
            max_tokens=question.max_tokens,
            temperature=question.temperature,
            history=history,
        )

    def render_rewriting(self, question: Question) -> Prompt | None:
        """Return the prompt that asks for the question as it can be understood by itself.

        None when no turn of the conversation fits: without one there is nothing to put into the question.
        """
        history = self._history(question)
        if not history:
            return None
        boundary = self._unheard([question.text, *(turn.text for turn in history)])
        turns = "".join(f"{boundary} {turn.role.value}\n{turn.text}\n" for turn in history)
        return Prompt(
            question=question.text,
            sources=(),
            system=self._templates.standalone.substitute(boundary=boundary),
            user=f"{turns}{boundary} end of the conversation\n\nLast question: {question.text}",
            max_tokens=_STANDALONE_TOKENS,
            temperature=0.0,
        )

    def _history(self, question: Question) -> tuple[Turn, ...]:
        return fitting(question.history, self._history_budget_tokens, self._count)

    def _unheard(self, texts: Sequence[str]) -> str:
        """Return a boundary that occurs in none of the texts."""
        boundary = self._new_boundary()
        while any(boundary in text for text in texts):
            boundary = self._new_boundary()
        return boundary

    def _cost(self, source: Source) -> int:
        return self._count(_block(_ANY_BOUNDARY, source))

    def _cut(self, source: Source) -> Source:
        """Return as much of a source as fits, one character at least."""
        lengths = range(1, len(source.passage.text) + 1)
        fits = bisect_right(lengths, self._passage_budget_tokens, key=lambda length: self._cost(_first(source, length)))
        return _first(source, max(1, fits))


def _numbered(number: int, hit: Hit) -> Source:
    legs = hit.dense_score, hit.keyword_score, hit.rerank_score
    return Source(number, hit.passage, hit.title, hit.score, *legs)


def _block(boundary: str, source: Source) -> str:
    return f"{boundary} {_label(source)}\n{source.passage.text}\n"


def _label(source: Source) -> str:
    """Return the line above a passage: its number and where it stands, in one line whatever the title holds."""
    passage = source.passage
    parts = [source.title, passage.heading, f"page {passage.page}" if passage.page else ""]
    where = ", ".join(" ".join(part.split())[:_LABEL_CHARS] for part in parts if part.strip())
    return f"[{source.number}] {where}".rstrip()


def _first(source: Source, length: int) -> Source:
    """Return a source with the first characters of its passage only."""
    passage = source.passage
    text = passage.text[:length]
    return replace(source, passage=replace(passage, text=text, char_end=passage.char_start + len(text)))
