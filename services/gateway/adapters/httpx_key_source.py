"""The keys of whoever signs tokens, at the address of their identity provider."""

from __future__ import annotations

import asyncio

import httpx

from rag.runtime.errors import Unavailable

_MAX_BYTES = 256 * 1024
_TIMEOUT_S = 5.0
_OK = 200


def open_client() -> httpx.AsyncClient:
    """Return a client for such an address. Redirects are not followed: the operator named one address."""
    return httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False, limits=httpx.Limits(max_connections=1))


class HttpxKeySource:
    """Fetches them each time.

    Args:
        client: From `open_client`.
        url: Where they are.
    """

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url

    async def read(self) -> bytes:
        """Return the set of keys as it is now."""
        try:
            # The client's own limit is for each piece; this one is for all of them.
            async with asyncio.timeout(_TIMEOUT_S):
                return await self._fetch()
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise _away("The address of the signing keys does not answer.") from error

    async def _fetch(self) -> bytes:
        async with self._client.stream("GET", self._url, headers={"accept": "application/json"}) as response:
            if response.status_code != _OK:
                raise _away(f"The address of the signing keys answers with the status {response.status_code}.")
            found = bytearray()
            async for piece in response.aiter_bytes():
                found += piece
                if len(found) > _MAX_BYTES:
                    raise _away("What is at the address of the signing keys is too large.")
            return bytes(found)


def _away(message: str) -> Unavailable:
    return Unavailable(message, "KEYS_UNAVAILABLE")
