"""JSON Web Tokens that are brought: believed when one we trust signed them, for us and for now."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Protocol

from rag.runtime.access import Identity
from services.gateway.access.claims import Believed, Rules, believed
from services.gateway.access.credentials import Guess
from services.gateway.access.remembered import Remembered

_KEPT_S = 300.0
"""How long a signature is believed; a key that is taken out of the set is missed once the set was read again."""


class Signatures(Protocol):
    """Tells whether one we trust signed a token."""

    async def payload(self, token: str) -> bytes:
        """Return what a token says; nothing of it is checked but its signature.

        Raises:
            Unauthenticated: TOKEN_INVALID.
            Unavailable: AUTH_UNAVAILABLE when the keys of the signers cannot be had.
        """
        ...


class Tokens:
    """Tells who brings a token.

    Args:
        signatures: Tells whether it is signed.
        rules: What else is asked of it.
        now: Seconds since 1970.
    """

    def __init__(self, signatures: Signatures, rules: Rules, now: Callable[[], float] = time.time) -> None:
        self._signatures = signatures
        self._rules = rules
        self._now = now
        self._believed: Remembered[bytes, tuple[Believed, float]] = Remembered()

    async def identify(self, text: str, guess: Guess) -> Identity:
        """Return who brings this token."""
        # All of it: tokens of one signer begin alike.
        digest = hashlib.sha256(text.encode()).digest()
        kept, until = self._believed.get(digest) or (None, 0.0)
        now = self._now()
        if kept and now < until:
            return kept.identity
        with guess():
            fresh = believed(await self._signatures.payload(text), self._rules, now)
        self._believed.put(digest, (fresh, min(fresh.until, now + _KEPT_S)))
        return fresh.identity
