"""Follows a call that was let through: what an answer took and cited, and how much an upload carries."""

from __future__ import annotations

from typing import Any

from rag.runtime.errors import RagError
from services.gateway.feedback.answered import Answered
from services.gateway.limits.ledger import NOTHING, Refusal, Spent
from services.gateway.limits.limiter import Admitted, Kind
from services.gateway.limits.limits import micros
from services.gateway.limits.refusals import refusal, upload_too_large
from services.gateway.messages.passing import asks_model, bytes_of, document_of, question_of, size_of, worth_reading

_BYTES_PER_TOKEN = 3
"""Prose has more, and what is around the text in a message counts as text here."""
_INSTRUCTIONS_TOKENS = 1_000
"""What the generator tells a model beside the question and the passages."""


class Watch:
    """Follows nothing: most calls."""

    __slots__ = ("is_priced", "refused", "spent")

    def __init__(self) -> None:
        self.spent: Spent = NOTHING
        """What the call took of the day's budget, so far as it is known."""
        self.is_priced = True
        """Whether its cost is known."""
        self.refused: RagError | None = None
        """Why the call was broken off in its middle."""

    async def sent(self, request: Any) -> None:
        """Look at a request."""

    def saw(self, response: Any) -> None:
        """Look at a response."""

    def answered(self) -> Answered | None:
        """Return the answer that was given to its end; None when there was none."""
        return None

    def unbooked_tokens(self, *, is_left: bool) -> int:  # noqa: ARG002 - for those who follow an answer
        """Return how many tokens a call took at most whose end did not tell.

        Args:
            is_left: Whether its caller left it, or its time ran out, rather than it failed.
        """
        return 0


class AnswerWatch(Watch):
    """Follows an answer."""

    __slots__ = ("_answer_id", "_asked", "_cited", "_documents", "_is_whole", "_question", "_read", "_sent", "_written")

    def __init__(self) -> None:
        super().__init__()
        self._question = ""
        self._asked = self._read = self._sent = self._written = 0
        self._answer_id = ""
        self._documents: dict[int, str] = {}
        self._cited: dict[str, None] = {}
        self._is_whole = False

    async def sent(self, request: Any) -> None:
        """Take note of the question."""
        self._question = question_of(request)
        self._sent = size_of(request)

    def saw(self, response: Any) -> None:
        """Take note of the answer's id, what it cites and what it took."""
        event = worth_reading(response)
        if event is None:
            self._written += size_of(response)
            return
        match event.WhichOneof("event"):
            case "accepted":
                self._answer_id = event.accepted.answer_id
            case "progress":
                self._begin(is_asked=asks_model(event))
            case "sources":
                self._read = size_of(response)
                self._documents = {source.number: source.passage.document_id for source in event.sources.sources}
            case "citation":
                document_id = self._documents.get(event.citation.number)
                if document_id:
                    self._cited[document_id] = None
            case "usage":
                self._take(event.usage)

    def answered(self) -> Answered | None:
        """Return the answer that was given to its end."""
        if not (self._is_whole and self._answer_id):
            return None
        return Answered(self._answer_id, self._question, tuple(self._cited))

    def unbooked_tokens(self, *, is_left: bool) -> int:
        """Return how many tokens a model took at most that was asked and whose answer did not come to its end."""
        if self._is_whole or not self._asked or not (is_left or self._written):
            return 0
        return self._asked + self._written // _BYTES_PER_TOKEN

    def _begin(self, *, is_asked: bool) -> None:
        if is_asked:
            self._asked += _INSTRUCTIONS_TOKENS + (self._sent + self._read) // _BYTES_PER_TOKEN

    def _take(self, usage: Any) -> None:
        self._is_whole = True
        if not usage.from_cache:
            self.spent = Spent(usage.input_tokens + usage.output_tokens, micros(usage.cost_usd))
            self.is_priced = usage.HasField("cost_usd")


class UploadWatch(Watch):
    """Follows an upload, and breaks it off when it grows too large, or makes a document for which there is no room.

    Args:
        admitted: What the tenant may, and how much room is left.
        is_fetched: Whether the document does not come with the call.
    """

    __slots__ = ("_admitted", "_bytes", "_is_fetched", "_is_open")

    def __init__(self, admitted: Admitted, *, is_fetched: bool = False) -> None:
        super().__init__()
        self._admitted = admitted
        self._is_fetched = is_fetched
        self._is_open = False
        self._bytes = 0

    async def sent(self, request: Any) -> None:
        """Look at the header, and count a part.

        Raises:
            TooLarge: UPLOAD_TOO_LARGE.
            Overloaded: QUOTA_DOCUMENTS, QUOTA_BYTES.
        """
        if not self._is_open:
            self._is_open = True
            await self._open(request)
        if not self._is_fetched:
            self._count(request)
        if self.refused:
            raise self.refused

    async def _open(self, request: Any) -> None:
        replaces = self._admitted.replaces
        if replaces and not await replaces(document_of(request, is_fetched=self._is_fetched)):
            self.refused = refusal(Refusal.QUOTA_DOCUMENTS, self._admitted.limits)

    def _count(self, request: Any) -> None:
        self._bytes += bytes_of(request)
        limits, room = self._admitted.limits, self._admitted.room.bytes
        if limits.upload_bytes is not None and self._bytes > limits.upload_bytes:
            self.refused = upload_too_large(limits.upload_bytes)
        elif room is not None and self._bytes > room:
            self.refused = refusal(Refusal.QUOTA_BYTES, limits)


def watch_of(kind: Kind, admitted: Admitted) -> Watch:
    """Return who follows a call of a kind."""
    if kind.is_answer:
        return AnswerWatch()
    return UploadWatch(admitted, is_fetched=kind.is_fetched) if kind.is_upload else Watch()
