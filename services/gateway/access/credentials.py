"""Access by credentials: an API key or a token in `Authorization: Bearer`, for REST and gRPC alike."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Protocol

from rag.access.api_key import PREFIX
from rag.runtime.access import Identity
from rag.runtime.errors import Unauthenticated
from services.gateway.access.attempts import Attempts
from services.gateway.access.remembered import Remembered

MAX_CHARACTERS = 8 * 1024
Guess = Callable[[], AbstractContextManager[None]]
"""Opens a block in which a credential that nobody knows yet is looked at; raises Overloaded."""
_REFUSED_S = 5.0
_CREDENTIAL = re.compile(r"[A-Za-z0-9._~+/-]+=*")


class Kind(Protocol):
    """One kind of credential."""

    async def identify(self, text: str, guess: Guess) -> Identity:
        """Return who brings this credential; one that is known to be good needs no guess.

        Raises:
            Unauthenticated: it is bad.
            Overloaded: too many were.
            Unavailable: AUTH_UNAVAILABLE when nobody can tell.
        """
        ...


class Credentials:
    """Tells who a caller is by his key or his token.

    A bad one is refused without a look for a few seconds: a client that tries the same again and again neither costs anything
    nor uses up the attempts of those behind the same address.

    Args:
        keys: API keys.
        tokens: JSON Web Tokens; None when no one is trusted to sign them.
        attempts: Limits the bad ones of each address.
        clock: Monotonic seconds.
    """

    def __init__(
        self, keys: Kind, tokens: Kind | None, attempts: Attempts, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._keys = keys
        self._tokens = tokens
        self._attempts = attempts
        self._clock = clock
        self._refused: Remembered[bytes, tuple[float, str, str]] = Remembered()

    async def identify(self, authorization: str, address: str) -> Identity:
        """Return who calls.

        Raises:
            Unauthenticated: NO_CREDENTIAL, BAD_SCHEME, BAD_HEADER, CREDENTIAL_TOO_LONG, KEY_MALFORMED, BAD_CREDENTIAL,
                TOKENS_NOT_TAKEN, TOKEN_INVALID, TOKEN_CLAIMS, TOKEN_EXPIRED, TOKEN_NOT_YET_VALID.
            Overloaded: TOO_MANY_BAD_CREDENTIALS.
            Unavailable: AUTH_UNAVAILABLE.
        """
        text = _bearer(authorization)
        digest = hashlib.sha256(text.encode()).digest()
        until, message, reason = self._refused.get(digest) or (0.0, "", "")
        if self._clock() < until:
            raise Unauthenticated(message, reason)
        try:
            return await self._kind(text).identify(text, partial(self._attempts.one, address))
        except Unauthenticated as error:
            self._refused.put(digest, (self._clock() + _REFUSED_S, error.message, error.reason))
            raise

    def _kind(self, text: str) -> Kind:
        if text.startswith(PREFIX):
            return self._keys
        if self._tokens is None:
            message = f"This is no API key, which begins with `{PREFIX}`, and tokens are not taken here."
            raise Unauthenticated(message, "TOKENS_NOT_TAKEN")
        return self._tokens


def _bearer(authorization: str) -> str:
    if not authorization.strip():
        message = "An API key or a token is needed, as `Authorization: Bearer ...`."
        raise Unauthenticated(message, "NO_CREDENTIAL")
    if len(authorization) > MAX_CHARACTERS:
        raise Unauthenticated(f"The credential is longer than {MAX_CHARACTERS} characters.", "CREDENTIAL_TOO_LONG")
    scheme, _, text = authorization.strip().partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated("The Authorization header must begin with `Bearer`.", "BAD_SCHEME")
    text = text.strip()
    if not _CREDENTIAL.fullmatch(text):
        message = "After `Bearer` comes one API key or one token, and nothing else."
        raise Unauthenticated(message, "BAD_HEADER")
    return text
