"""What the refusals of an OpenAI-compatible endpoint mean to us."""

from __future__ import annotations

import re

from openai import APIConnectionError, APIError, APIResponseValidationError, APIStatusError

from rag.runtime.backoff import retry_after_s
from rag.runtime.errors import FailedPrecondition, Internal, InvalidInput, Overloaded, RagError, Unavailable

_TOO_LONG = re.compile(r"context.?length|max_tokens|too (long|large|many tokens)|maximum", re.IGNORECASE)
_DEFAULT_RETRY_AFTER_S = 2.0
_MAX_RETRY_AFTER_S = 120.0


def translate(error: APIError | TimeoutError) -> RagError:
    """Return our error for one of the SDK's; the endpoint's own words stay out of it."""
    if isinstance(error, APIStatusError):
        return _of_status(error)
    if isinstance(error, APIResponseValidationError):
        return Internal("The embedding endpoint's answer cannot be used.", "EMBEDDING_INVALID")
    if isinstance(error, APIConnectionError | TimeoutError):
        return Unavailable("The embedding endpoint cannot be reached, or does not answer in time.", "MODEL_UNAVAILABLE")
    return Internal("The embedding endpoint's answer cannot be used.", "EMBEDDING_INVALID")


def _of_status(error: APIStatusError) -> RagError:
    status = error.status_code
    if status in (401, 403):
        return FailedPrecondition("The embedding endpoint refuses the key; check OPENAI_API_KEY.", "MODEL_KEY_REFUSED")
    if status == 404:
        message = "The embedding endpoint does not know the model; check EMBEDDER_MODEL and OPENAI_BASE_URL."
        return FailedPrecondition(message, "MODEL_NOT_FOUND")
    if status == 429 or (status == 503 and _asks_for_time(error)):
        return Overloaded("The embedding endpoint has too much to do.", "MODEL_RATE_LIMITED", _time_s(error))
    if status == 413 or (status in (400, 422) and _TOO_LONG.search(f"{error.code} {error.message}")):
        return InvalidInput("The embedding endpoint finds a text too long.", "TEXT_TOO_LONG")
    if status >= 500 or status in (408, 409):
        return Unavailable("The embedding endpoint has failed.", "MODEL_UNAVAILABLE", status=str(status))
    return FailedPrecondition("The embedding endpoint refuses the request.", "MODEL_REFUSED", status=str(status))


def _asks_for_time(error: APIStatusError) -> bool:
    return any(header in error.response.headers for header in ("retry-after-ms", "retry-after"))


def _time_s(error: APIStatusError) -> float:
    return retry_after_s(error.response.headers, default_s=_DEFAULT_RETRY_AFTER_S, most_s=_MAX_RETRY_AFTER_S)
