"""Opinions about answers: whose answer it was is known before one is taken, and the last word about an answer counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from rag.ids import check_id
from rag.paging import decode_token, encode_token, page_size
from rag.runtime.errors import InvalidInput, NotFound, RagError
from rag.runtime.logs import get_logger
from services.gateway import metrics
from services.gateway.feedback.answered import Answered

log = get_logger(__name__)

MAX_COMMENT_CHARS = 2_000
MAX_PAGE_SIZE = 200


class Rating(StrEnum):
    """What somebody thinks of an answer."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Opinion:
    """What was said about one answer."""

    rating: Rating
    comment: str
    answered: Answered
    said_ms: int
    """Milliseconds since 1970. No two of a tenant have the same."""


@dataclass(frozen=True, slots=True)
class Totals:
    """How many answers of all tenants have each rating."""

    up: int
    down: int


@dataclass(frozen=True, slots=True)
class Page:
    """Some opinions, newest first, and the token of those after them (empty at the end)."""

    opinions: Sequence[Opinion]
    next_page_token: str


class OpinionStore(Protocol):
    """Keeps answers for a while and opinions for long, each tenant's apart and bounded. Every method raises Unavailable when it cannot."""

    async def note(self, tenant: str, answered: Answered) -> None:
        """Keep an answer; drop the oldest of too many."""

    async def say(self, tenant: str, answer_id: str, rating: Rating, comment: str) -> Totals | None:
        """Keep an opinion about an answer in place of the one before, and count all; None when the tenant has no such answer."""

    async def newest(self, tenant: str, rating: Rating | None, before_ms: int | None, most: int) -> Sequence[Opinion]:
        """Return opinions said before a moment, newest first: of one rating, or of both."""


class Feedback:
    """Takes and lists opinions."""

    def __init__(self, store: OpinionStore) -> None:
        self._store = store

    async def note(self, tenant: str, answered: Answered) -> None:
        """Keep an answer, so that an opinion about it can be taken. An answer without an id cannot be spoken of."""
        if not answered.answer_id:
            return
        try:
            await self._store.note(tenant, answered)
        except RagError as error:
            log.warning("answer_not_noted", answer_id=answered.answer_id, reason=error.reason)

    async def submit(self, tenant: str, answer_id: str, rating: Rating | None, comment: str) -> None:
        """Keep an opinion. A repetition changes nothing.

        Raises:
            InvalidInput: BAD_ID, NO_RATING, COMMENT_TOO_LONG.
            NotFound: ANSWER_NOT_FOUND, also for an answer of somebody else.
            Unavailable: FEEDBACK_UNAVAILABLE.
        """
        check_id(answer_id, "answer_id")
        if rating is None:
            raise InvalidInput("rating must be up or down.", "NO_RATING", field="rating")
        if len(comment) > MAX_COMMENT_CHARS:
            message = f"comment must not be longer than {MAX_COMMENT_CHARS} characters."
            raise InvalidInput(message, "COMMENT_TOO_LONG", field="comment", max_chars=str(MAX_COMMENT_CHARS))
        totals = await self._store.say(tenant, answer_id, rating, comment)
        if totals is None:
            raise NotFound("There is no such answer.", "ANSWER_NOT_FOUND", answer_id=answer_id)
        metrics.FEEDBACK.labels(rating.value).inc()
        metrics.rate_thumbs(totals.up, totals.down)

    async def list(self, tenant: str, rating: Rating | None, requested: int, page_token: str) -> Page:
        """Return one page, newest first.

        Raises:
            InvalidInput: BAD_PAGE_SIZE, BAD_PAGE_TOKEN.
            Unavailable: FEEDBACK_UNAVAILABLE.
        """
        size = min(page_size(requested), MAX_PAGE_SIZE)
        before = int(decode_token(page_token, int)[0]) if page_token else None
        found = await self._store.newest(tenant, rating, before, size + 1)
        token = encode_token(found[size - 1].said_ms) if len(found) > size else ""
        return Page(found[:size], token)
