"""The operator's server for webhooks, over HTTP."""

from __future__ import annotations

import asyncio

import httpx

from rag.runtime.errors import Unavailable

_TIMEOUT_S = 10.0


class HttpxReceiver:
    """A `Receiver`. Redirects are not followed: a signed message goes to the address that was set."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url

    async def post(self, body: bytes, headers: dict[str, str]) -> int:
        """Send, and return the status; what the server says besides is not read."""
        request = self._client.build_request("POST", self._url, content=body, headers=headers, timeout=_TIMEOUT_S)
        try:
            async with asyncio.timeout(_TIMEOUT_S):  # httpx counts each read anew
                response = await self._client.send(request, stream=True)
        except (httpx.HTTPError, TimeoutError) as error:
            raise Unavailable("The receiver of webhooks does not answer.", "WEBHOOK_UNREACHABLE") from error
        await response.aclose()
        return response.status_code
