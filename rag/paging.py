"""Paging of lists: a bounded page size and an opaque token, as AIP-158 asks."""

from __future__ import annotations

import base64
import binascii
import json

from rag.runtime.errors import InvalidInput

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 500


def page_size(requested: int) -> int:
    """Return the page size to use: 0 means the default, too much means the most.

    Raises:
        InvalidInput: BAD_PAGE_SIZE when negative.
    """
    if requested < 0:
        raise InvalidInput("page_size must not be negative.", "BAD_PAGE_SIZE")
    return min(requested, MAX_PAGE_SIZE) or DEFAULT_PAGE_SIZE


def encode_token(*position: str | float) -> str:
    """Return an opaque token for a position in a list."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def decode_token(token: str, *kinds: type) -> tuple[str | int | float, ...]:
    """Return the position that `encode_token` was given, checked to be of these types.

    Raises:
        InvalidInput: BAD_PAGE_TOKEN for anything else.
    """
    try:
        position = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise InvalidInput("page_token is not one that this server gave out.", "BAD_PAGE_TOKEN") from error
    if not isinstance(position, list) or [type(part) for part in position] != list(kinds):
        raise InvalidInput("page_token is not one that this server gave out.", "BAD_PAGE_TOKEN")
    return tuple(position)
