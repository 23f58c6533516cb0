"""The web through httpx, one connection for each request, to an address that was checked."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx

from rag.runtime.errors import Unavailable
from services.ingestor.fetching import Answer, Hop

_TIMEOUT = httpx.Timeout(15.0, connect=5.0)
_CHUNK_BYTES = 65_536


class HttpxWeb:
    """A `Web`. No proxy and no credentials of this machine are used."""

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """All addresses of a host."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):  # a label that is too long is a UnicodeError
            return []
        return list(dict.fromkeys(str(address[0]).partition("%")[0] for *_, address in found))

    @asynccontextmanager
    async def get(self, hop: Hop) -> AsyncIterator[Answer]:
        """Ask the address of the hop for its URL, naming its host."""
        original = httpx.URL(hop.url)
        target = original.copy_with(host=hop.address)
        headers = {"host": original.netloc.decode(), "accept-encoding": "identity", "user-agent": "ragmesh"}
        transport = httpx.AsyncHTTPTransport(retries=0)
        async with httpx.AsyncClient(transport=transport, timeout=_TIMEOUT, trust_env=False) as client:
            # The certificate must be the host's, though we connect to an address.
            extensions = {} if _is_address(hop.host) else {"sni_hostname": hop.host}
            request = client.build_request("GET", target, headers=headers, extensions=extensions)
            try:
                response = await client.send(request, stream=True)
            except (httpx.HTTPError, ValueError) as error:
                raise _unreachable() from error
            try:
                yield _answer(response)
            finally:
                await response.aclose()


def _answer(response: httpx.Response) -> Answer:
    headers = response.headers
    encoding = headers.get("content-encoding", "").strip().lower()
    return Answer(response.status_code, headers.get("location", ""), encoding, _chunks(response))


async def _chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.aiter_raw(_CHUNK_BYTES):
            yield chunk
    except httpx.HTTPError as error:
        raise _unreachable() from error


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _unreachable() -> Unavailable:
    return Unavailable("The URL's server cannot be reached, or broke off.", "URL_UNREACHABLE")
