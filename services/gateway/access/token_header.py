"""The header of a token, which anybody can have written: it chooses among our keys and nothing else."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from rag.runtime.errors import Unauthenticated

_REFUSED = frozenset({"b64", "crit", "jku", "jwk", "x5c", "x5u", "zip"})
"""What would have us fetch or believe a key of the token's own, or read it in another way."""
_TYPES = {"jwt", "at+jwt", "application/at+jwt"}
_PART = re.compile(r"[A-Za-z0-9_-]+")
_PARTS = 3
_MAX_HEADER = 2 * 1024
_MAX_KID = 256


def key_id_of(token: str, algorithm: str) -> str:
    """Return the id of the key that a token says it is signed with, empty when it says none.

    Args:
        token: Three parts with dots between them.
        algorithm: The one that is taken.

    Raises:
        Unauthenticated: TOKEN_INVALID.
    """
    parts = token.split(".")
    if len(parts) != _PARTS or not all(map(_PART.fullmatch, parts)) or len(parts[0]) > _MAX_HEADER:
        raise invalid("This is neither an API key nor a token.")
    header = _decoded(parts[0])
    if header.get("alg") != algorithm:
        raise invalid("The token is not signed with the algorithm that is taken here.")
    if _REFUSED & header.keys():
        raise invalid("The header of the token names what is not taken here.")
    if str(header.get("typ", "JWT")).lower() not in _TYPES:
        raise invalid("The token is of another type.")
    kid = header.get("kid", "")
    if not isinstance(kid, str) or len(kid) > _MAX_KID:
        raise invalid("The token does not name its key well.")
    return kid


def invalid(message: str) -> Unauthenticated:
    """Return the error for a token that nobody we trust signed."""
    return Unauthenticated(message, "TOKEN_INVALID")


def _decoded(part: str) -> dict[str, Any]:
    try:
        header = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError) as error:
        raise invalid("The header of the token cannot be read.") from error
    if not isinstance(header, dict):
        raise invalid("The header of the token cannot be read.")
    return header
