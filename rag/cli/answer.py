"""An answer as its events tell it, for whoever shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rag.json_shape import enum_names, to_json
from rag.v1 import generator_pb2 as pb

STAGES = {
    pb.STAGE_CACHE: "looking for the same question",
    pb.STAGE_REWRITING: "rewriting the question",
    pb.STAGE_EMBEDDING: "reading the question",
    pb.STAGE_RETRIEVAL: "searching",
    pb.STAGE_GENERATION: "writing",
    pb.STAGE_EXTRACTION: "picking sentences",
}


@dataclass(slots=True)
class Answer:
    """What an answer's events told so far."""

    answer_id: str = ""
    texts: list[str] = field(default_factory=list)
    sources: dict[int, pb.Source] = field(default_factory=dict)
    citations: dict[tuple[int, str], pb.Citation] = field(default_factory=dict)
    """By number and quote: a sentence that is cited twice is listed once."""
    notices: list[str] = field(default_factory=list)
    usage: pb.Usage = field(default_factory=pb.Usage)
    finish: pb.FinishReason.ValueType = pb.FINISH_REASON_UNSPECIFIED

    @property
    def text(self) -> str:
        """The answer."""
        return "".join(self.texts)

    @property
    def is_complete(self) -> bool:
        """Whether the last event came."""
        return self.finish != pb.FINISH_REASON_UNSPECIFIED

    def take(self, event: pb.GenerateResponse) -> None:
        """Take note of the next event."""
        match event.WhichOneof("event"):
            case "accepted":
                self.answer_id = event.accepted.answer_id
            case "sources":
                self.sources = {source.number: source for source in event.sources.sources}
            case "token":
                self.texts.append(event.token.text)
            case "citation":
                self.citations.setdefault((event.citation.number, event.citation.quote), event.citation)
            case "notice":
                self.notices.append(event.notice.message)
            case "usage":
                self.usage = event.usage
            case "done":
                self.finish = event.done.finish_reason

    def as_json(self) -> dict[str, Any]:
        """Return the whole answer for a program."""
        return {
            "answer_id": self.answer_id,
            "answer": self.text,
            "sources": [to_json(source) for source in self.sources.values()],
            "citations": [to_json(citation) for citation in self.citations.values()],
            "notices": self.notices,
            "usage": to_json(self.usage),
            "finish_reason": enum_names(pb.FinishReason.DESCRIPTOR).get(self.finish),
        }


def event_json(event: pb.GenerateResponse) -> dict[str, Any]:
    """Return one event for a program: its number, its name, and what it carries, in the shape of the REST API."""
    name = event.WhichOneof("event") or ""
    return {"sequence": event.sequence, "event": name, "data": to_json(getattr(event, name)) if name else None}
