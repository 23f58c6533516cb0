"""What an error of the openai client means to the one who asked."""

from __future__ import annotations

from collections.abc import Mapping

from openai import APIStatusError

from rag.runtime import backoff
from rag.runtime.errors import DeadlineExceeded, FailedPrecondition, Overloaded, RagError, Unavailable

_RETRY_AFTER_S = 5.0
_MOST_RETRY_AFTER_S = 3_600.0


class ModelServerError(Exception):
    """The server said inside its stream that it failed."""


def translated(error: Exception, *, began: bool) -> RagError:
    """Return the error to raise.

    Args:
        error: What the client raised while it asked or read.
        began: Whether text had come already.
    """
    if isinstance(error, APIStatusError):
        return _of_status(error)
    if _is_timeout(error):
        return DeadlineExceeded("The language model took too long.", "MODEL_TIMEOUT")
    if began:
        return Unavailable("The language model stopped in the middle of the answer.", "MODEL_STREAM_CUT")
    if isinstance(error, ValueError):
        return Unavailable("The language model's server sent something unreadable.", "MODEL_BAD_ANSWER")
    return Unavailable("The language model is not available.", "MODEL_UNAVAILABLE")


def _is_timeout(error: BaseException) -> bool:
    # By what lies at the bottom: over aiohttp, the client calls a refused or broken connection a timeout too.
    while error.__cause__:
        error = error.__cause__
    return isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError)


def _of_status(error: APIStatusError) -> RagError:
    status = error.status_code
    if status in {401, 403}:
        return FailedPrecondition("The language model's server refused our credentials.", "MODEL_AUTH")
    if status == 404:
        return FailedPrecondition("The language model's server does not know the model.", "MODEL_NOT_FOUND")
    if status == 429:
        wait = _asked_s(error.response.headers)
        return Overloaded("The language model is used too much at the moment.", "MODEL_RATE_LIMITED", wait)
    if status in {408, 504}:
        return DeadlineExceeded("The language model took too long.", "MODEL_TIMEOUT")
    if 400 <= status < 500 and status != 409:
        return FailedPrecondition(f"The language model's server refused the request ({status}).", "MODEL_REFUSED")
    return Unavailable("The language model is not available.", "MODEL_UNAVAILABLE")


def retry_after_s(header: str | None) -> float:
    """Return the seconds a Retry-After header asks for; 5 when it is missing or nonsense; at most an hour."""
    return _asked_s({"retry-after": header or ""})


def _asked_s(headers: Mapping[str, str]) -> float:
    return backoff.retry_after_s(headers, default_s=_RETRY_AFTER_S, most_s=_MOST_RETRY_AFTER_S)
