"""Errors in OpenAI's shape, which its clients read, on the paths that are OpenAI's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from services.gateway.http.problems import Problem

_PATHS = ("/v1/chat/", "/v1/embeddings", "/v1/models")
_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}
_PARAMS = {
    "EMPTY_QUESTION": "messages",
    "QUESTION_TOO_LONG": "messages",
    "BAD_MAX_TOKENS": "max_tokens",
    "BAD_TEMPERATURE": "temperature",
    "BAD_TOP_K": "rag.top_k",
    "BAD_MIN_SCORE": "rag.min_score",
    "BAD_FILTER": "rag.filter",
    "NO_TEXTS": "input",
    "TOO_MANY_TEXTS": "input",
    "EMPTY_TEXT": "input",
    "TEXTS_TOO_LARGE": "input",
}
_OVER_LENGTH = {"QUESTION_TOO_LONG", "TEXTS_TOO_LARGE"}
_SPENT = {"TOKENS_SPENT", "COST_SPENT"}


def speaks_at(path: str) -> bool:
    """Tell whether a path is one of OpenAI's."""
    return path.startswith(_PATHS)


def body_of(problem: Problem) -> dict[str, Any]:
    """Return what is wrong as `{"error": {"message", "type", "param", "code"}}`."""
    return shape(problem.detail, problem.status, problem.reason, _param(problem))


def shape(message: str, status: int, reason: str, param: str | None) -> dict[str, Any]:
    """Return an error in OpenAI's words."""
    code = code_of(status, reason)
    return {"error": {"message": message, "type": _type(status, code), "param": param, "code": code}}


def _type(status: int, code: str) -> str:
    if status == 429:
        return "insufficient_quota" if code == "insufficient_quota" else "requests"
    return "server_error" if status >= 500 else "invalid_request_error"


def code_of(status: int, reason: str) -> str:
    """Return the code of an error: OpenAI's where it has one, else our reason in lower case."""
    if reason in _SPENT:
        return "insufficient_quota"
    if reason in _OVER_LENGTH:
        return "context_length_exceeded"
    return _CODES.get(status, reason.lower())


def _param(problem: Problem) -> str | None:
    """Return the parameter that is wrong, written as OpenAI writes it: `messages[0].content`."""
    fields = problem.more.get("errors")
    if fields:
        name = str(fields[0]["field"])
        return None if name == "body" else re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", name)
    named = problem.more.get("metadata", {}).get("param")
    return str(named) if named else _PARAMS.get(problem.reason)
