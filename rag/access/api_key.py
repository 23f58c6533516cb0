"""An API key: `rmk_`, 256 random bits, a checksum. Made here, checked here, and never kept as it is."""

from __future__ import annotations

import hmac
import re
import secrets
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from rag.runtime.errors import Unauthenticated

PREFIX = "rmk_"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BITS = 256
_BODY = 43
"""256 bits in base 62."""
_CHECK = 6
"""32 bits in base 62."""
_SHAPE = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{_BODY + _CHECK}}}")


@dataclass(frozen=True, slots=True, eq=False)
class ApiKey:
    """A key whose checksum is right; whether anybody gave it out is another question."""

    text: str = field(repr=False)

    def digest(self, pepper: bytes) -> str:
        """Return what is kept of the key: 64 hex digits that say nothing about it."""
        # One round is enough: nobody guesses 256 random bits, however fast a guess is.
        return hmac.digest(pepper, self.text.encode(), "sha256").hex()


def new_key(random_bits: Callable[[int], int] = secrets.randbits) -> ApiKey:
    """Return a key that nobody has."""
    body = f"{PREFIX}{_base62(random_bits(_BITS), _BODY)}"
    return ApiKey(body + _checksum(body))


def parse(text: str) -> ApiKey:
    """Return the key that a text is. A mistyped or cut one is found out here, before it costs anything.

    Raises:
        Unauthenticated: KEY_MALFORMED.
    """
    if _SHAPE.fullmatch(text) and hmac.compare_digest(_checksum(text[:-_CHECK]), text[-_CHECK:]):
        return ApiKey(text)
    raise Unauthenticated("This is not a whole API key: it was cut or mistyped.", "KEY_MALFORMED")


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECK)


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
