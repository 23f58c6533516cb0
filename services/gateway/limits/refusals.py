"""What a caller reads who is refused."""

from __future__ import annotations

from rag.runtime.errors import Overloaded, RagError, TooLarge
from services.gateway.limits.ledger import Refusal
from services.gateway.limits.limits import Limits

_UNTIL_DELETED_S = 3_600.0
"""Waiting frees no space; who asks again all the same need not do it often."""


def refusal(why: Refusal, limits: Limits, wait_us: int = 0) -> Overloaded:
    """Return the error of a call that is not taken on."""
    wait_s = wait_us / 1_000_000
    match why:
        case Refusal.RATE_LIMITED:
            text, limit = "That were more than {} calls a minute; come back a little later.", limits.requests_per_minute
        case Refusal.TOO_MANY_STREAMS:
            text, limit = "There are {} streams open already; close one, or wait until one ends.", limits.streams
        case Refusal.TOKENS_SPENT:
            text, limit = (
                "The {} tokens of today are spent, or held by answers that are being written; the day ends at midnight UTC.",
                limits.tokens_per_day,
            )
        case Refusal.COST_SPENT:
            return _of(
                why,
                "The {} US dollars of today are spent, or held by answers that are being written; the day ends at midnight UTC.",
                f"{limits.cost_usd_per_day:g}",
                wait_s,
            )
        case Refusal.QUOTA_DOCUMENTS:
            text, limit = "No more than {} documents are kept; delete one first.", limits.documents
        case Refusal.QUOTA_BYTES:
            text, limit = "No more than {} bytes are kept; delete a document first.", limits.stored_bytes
    return _of(why, text, str(limit), wait_s or _UNTIL_DELETED_S)


def upload_too_large(max_bytes: int) -> RagError:
    """Return the error of an upload that is larger than one may be."""
    return TooLarge(f"The document is larger than {max_bytes} bytes.", "UPLOAD_TOO_LARGE", limit_bytes=str(max_bytes))


def _of(why: Refusal, text: str, limit: str, wait_s: float) -> Overloaded:
    return Overloaded(text.format(limit), why.value, wait_s, limit=limit)
