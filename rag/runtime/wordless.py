"""What may be logged of another server's refusal."""

from __future__ import annotations

import re

_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


class RefusedError(Exception):
    """A server refused, or failed; its own words are left out."""


def wordless(error: Exception) -> Exception:
    """Return what may be logged of an error: status and code of a server's answer, without its words; others as they are.

    Servers like to repeat what they refuse: the key, or the prompt with the passages in it.
    """
    status, body = getattr(error, "status_code", None), getattr(error, "body", None)
    if status is None and body is None:
        return error
    code = str(getattr(error, "code", None) or "")
    return RefusedError(type(error).__name__, status, code if _CODE.fullmatch(code) else "")
