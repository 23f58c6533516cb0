"""Signatures with a secret that the signer and we share."""

from __future__ import annotations

import jwt

from services.gateway.access.token_header import invalid, key_id_of

_ALGORITHM = "HS256"


class SharedSecretSignatures:
    """HS256 and nothing else.

    Args:
        secret: At least 32 bytes.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._jws = jwt.PyJWS(algorithms=[_ALGORITHM])

    async def payload(self, token: str) -> bytes:
        """Return what a token says."""
        key_id_of(token, _ALGORITHM)  # one secret, whatever the token calls it
        try:
            payload: bytes = self._jws.decode(token, self._secret, [_ALGORITHM])
        except jwt.PyJWTError as error:
            raise invalid("The token is not signed by one who is trusted here.") from error
        return payload
