"""Answers in OpenAI's shape: completions, their chunks, lists of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import orjson

Json = dict[str, Any]

_FINISH = {"stop": "stop", "length": "length", "no_context": "stop"}


@dataclass(frozen=True, slots=True)
class Head:
    """What all chunks of an answer and the whole answer begin with."""

    model: str
    created: int
    """Seconds since 1970."""
    base_url: str
    """Where this gateway is reached, with a slash at its end."""

    def completion(self, answer: Json, notices: Sequence[Json]) -> Json:
        """Return a whole answer."""
        message = {
            "role": "assistant",
            "content": answer["answer"],
            "refusal": None,
            "annotations": self.annotations(answer),
        }
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason(answer)}
        return {
            **self._opening("chat.completion", answer["answer_id"] or ""),
            "choices": [choice],
            "usage": usage(answer),
            "rag": extension(answer, notices),
        }

    def annotations(self, answer: Json) -> list[Json]:
        """Return the citations of an answer as annotations of its text.

        The indices count Unicode code points, and the end is one past the marker's last character, so that in Python
        `content[start_index:end_index]` is the marker.
        """
        titles = {source["number"]: source["title"] for source in answer["sources"]}
        return [self._annotation(citation, titles) for citation in answer["citations"]]

    def _annotation(self, citation: Json, titles: Mapping[int, str]) -> Json:
        place = {"passage": citation["passage_id"], **({"page": citation["page"]} if citation["page"] else {})}
        document = quote(citation["document_id"], safe="")
        cited = {
            "start_index": citation["char_start"],
            "end_index": citation["char_end"],
            "title": titles.get(citation["number"], ""),
            "url": f"{self.base_url}v1/documents/{document}/passages#{urlencode(place)}",
        }
        return {"type": "url_citation", "url_citation": cited}

    def chunk(self, answer_id: str, delta: Json | None, finish_reason: str | None = None, **more: Any) -> Json:
        """Return one chunk; without a delta one that has no choices."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {
            **self._opening("chat.completion.chunk", answer_id),
            "choices": [] if delta is None else [choice],
            **more,
        }

    def _opening(self, kind: str, answer_id: str) -> Json:
        return {"id": f"chatcmpl-{answer_id}", "object": kind, "created": self.created, "model": self.model}


def finish_reason(answer: Json) -> str:
    """Return why an answer ended, in OpenAI's words."""
    return _FINISH[answer["finish_reason"]]


def usage(answer: Json) -> Json:
    """Return the tokens of an answer."""
    told = answer["usage"] or {}
    read, written = told.get("input_tokens", 0), told.get("output_tokens", 0)
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
        "prompt_tokens_details": {"cached_tokens": told.get("cached_input_tokens", 0)},
    }


def extension(answer: Json, notices: Sequence[Json]) -> Json:
    """Return what OpenAI's shape has no place for: the members of the answer of `/v1/query`, without the text."""
    own = {name: value for name, value in answer.items() if name != "answer"}
    return {**own, "notices": [*notices, *answer["notices"]]}


def model(name: str, owner: str) -> Json:
    """Return one model. When models were made is not known, and no client asks: 0."""
    return {"id": name, "object": "model", "created": 0, "owned_by": owner}


def embeddings(batches: Sequence[bytes], name: str, told: Json) -> bytes:
    """Return vectors as a response: `batches` hold the members of `data`, as JSON."""
    tokens = told["tokens"]
    tail = {
        "model": name,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        "rag": told,
    }
    return b'{"object":"list","data":[%b],%b' % (b",".join(batches), orjson.dumps(tail)[1:])
