"""Ids: made here, and checked here before they reach a key, a filter or a path."""

from __future__ import annotations

import re
import secrets

from rag.runtime.errors import InvalidInput, Unauthenticated

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_id(value: str, field: str) -> str:
    """Return `value` when it is a well-formed id.

    Raises:
        InvalidInput: BAD_ID, naming the field.
    """
    if not _ID.fullmatch(value):
        message = f"{field} must be 1 to 64 letters, digits, underscores or hyphens."
        raise InvalidInput(message, "BAD_ID", field=field)
    return value


def check_tenant(value: str) -> str:
    """Return `value` when it is a well-formed tenant.

    Raises:
        Unauthenticated: NO_TENANT; an empty or malformed tenant is never "all".
    """
    if not _ID.fullmatch(value):
        raise Unauthenticated("The call carries no valid tenant.", "NO_TENANT")
    return value


def new_id(prefix: str) -> str:
    """Return `prefix`, an underscore and 96 random bits in hex."""
    return f"{prefix}_{secrets.token_hex(12)}"
