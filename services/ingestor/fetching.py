"""Takes documents in from the web, and from nowhere else: what a URL leads to is checked at every step.

A URL given by a stranger must not make us ask our own machines. So each hop's host is resolved once, all of its addresses
must be public, and the connection goes to exactly the address that was checked (no second lookup that may say otherwise).
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Protocol
from urllib.parse import SplitResult, unquote, urljoin, urlsplit, urlunsplit

from rag.runtime.errors import DeadlineExceeded, FailedPrecondition, InvalidInput, PermissionDenied
from services.ingestor.jobs import Job
from services.ingestor.submission import MAX_NAME_CHARS, Header, Submissions

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_URL_CHARS = 2_048
_PORTS = {"http": 80, "https": 443}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_MOST_METADATA_CHARS = 1_000


@dataclass(frozen=True, slots=True)
class Hop:
    """One request: to `address` and nowhere else, whatever the host's name says by then."""

    url: str
    host: str
    port: int
    address: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered: a document in `chunks`, or a redirect to `location`."""

    status: int
    location: str
    encoding: str
    chunks: AsyncIterator[bytes]


class Web(Protocol):
    """Resolves names and asks servers."""

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """All addresses of a host; none when it has none."""
        ...

    def get(self, hop: Hop) -> AbstractAsyncContextManager[Answer]:
        """Ask once, without following redirects. Raises `Unavailable` URL_UNREACHABLE."""
        ...


@dataclass(frozen=True, slots=True)
class FetchRules:
    """What may be fetched. `private_networks` are allowed although they are not public, such as an intranet's."""

    enabled: bool = False
    timeout_s: float = 60.0
    private_networks: Sequence[IPNetwork] = ()


class UrlSubmissions:
    """Accepts documents by their URL.

    Args:
        submissions: Takes the bytes, as of an upload.
        web: Where they come from.
        rules: What may be fetched.
    """

    def __init__(self, submissions: Submissions, web: Web, rules: FetchRules) -> None:
        self._submissions = submissions
        self._web = web
        self._rules = rules

    async def submit(self, tenant: str, url: str, header: Header) -> Job:
        """Fetch a document and return its job once nothing can be lost any more.

        Raises:
            FailedPrecondition: URLS_DISABLED, URL_NOT_FOUND, URL_BAD_ANSWER.
            InvalidInput: BAD_URL, and as `Submissions.submit`.
            PermissionDenied: URL_NOT_ALLOWED.
            DeadlineExceeded: URL_TIMEOUT.
            Unavailable: URL_UNREACHABLE.
        """
        if not self._rules.enabled:
            message = "Documents from URLs are off; INGESTOR_URLS_ENABLED=true allows them."
            raise FailedPrecondition(message, "URLS_DISABLED")
        header = _identified(header, checked(url))
        try:
            async with asyncio.timeout(self._rules.timeout_s), self._document(url) as answer:
                return await self._submissions.submit(tenant, header, answer.chunks)
        except TimeoutError as error:
            message = f"The document was not fetched within {self._rules.timeout_s:g} seconds."
            raise DeadlineExceeded(message, "URL_TIMEOUT") from error

    @asynccontextmanager
    async def _document(self, url: str) -> AsyncIterator[Answer]:
        for _ in range(_MOST_REDIRECTS + 1):
            async with self._web.get(await self._hop(url)) as answer:
                if answer.status not in _REDIRECTS:
                    yield _good(answer)
                    return
                url = urljoin(url, answer.location)
        raise FailedPrecondition("The URL leads from one redirect to the next.", "URL_BAD_ANSWER")

    async def _hop(self, url: str) -> Hop:
        parts = checked(url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        addresses = [ipaddress.ip_address(found) for found in await self._web.resolve(host, port)]
        # One private address among public ones is how a name is made to lead inside.
        if not addresses or not all(self._is_allowed(address) for address in addresses):
            message = "The URL's host has no address, or one that is not public."
            raise PermissionDenied(message, "URL_NOT_ALLOWED")
        return Hop(urlunsplit(parts._replace(fragment="")), host, port, str(addresses[0]))

    def _is_allowed(self, address: IPAddress) -> bool:
        inner = embedded(address)
        if any(inner.version == network.version and inner in network for network in self._rules.private_networks):
            return True
        return inner.is_global and not inner.is_multicast


def checked(url: str) -> SplitResult:
    """The parts of a URL that may be asked at all.

    Raises:
        InvalidInput: BAD_URL.
    """
    if len(url) > MAX_URL_CHARS or not url.isprintable() or " " in url or "\\" in url:
        raise _bad_url(f"It must be at most {MAX_URL_CHARS} printable characters without blanks.")
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError as error:
        raise _bad_url("It is not well formed.") from error
    if parts.scheme not in _PORTS or not usable:
        raise _bad_url("It must begin with http:// or https:// and name a host.")
    if parts.username is not None or parts.password is not None:
        raise _bad_url("It must not hold a user or a password.")
    return parts


def embedded(address: IPAddress) -> IPAddress:
    """The IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo[1] if address.teredo else None
    return address.ipv4_mapped or address.sixtofour or teredo or address


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def _good(answer: Answer) -> Answer:
    if answer.status in {404, 410}:
        raise FailedPrecondition("The URL's server has no such document.", "URL_NOT_FOUND")
    if answer.status != 200:
        message = f"The URL's server answered {answer.status} instead of a document."
        raise FailedPrecondition(message, "URL_BAD_ANSWER", status=str(answer.status))
    if answer.encoding not in {"", "identity"}:  # unpacking is how a small answer becomes a huge one
        raise FailedPrecondition("The URL's server sends only compressed answers.", "URL_BAD_ANSWER")
    return answer


def name_of(url: str) -> str:
    """What to call the document at a URL. Raises `InvalidInput` BAD_URL."""
    parts = checked(url)
    last = "".join(filter(str.isprintable, unquote(PurePosixPath(parts.path).name)))
    return last[-MAX_NAME_CHARS:] or (parts.hostname or "")[:MAX_NAME_CHARS]


def _identified(header: Header, parts: SplitResult) -> Header:
    """The header with the URL as the document's source and, when it has no id, as its id."""
    url = urlunsplit(parts._replace(fragment=""))
    document_id = header.document_id or f"url_{hashlib.sha256(url.encode()).hexdigest()[:24]}"
    return replace(
        header, document_id=document_id, metadata={"source_url": url[:_MOST_METADATA_CHARS], **header.metadata}
    )


def _bad_url(why: str) -> InvalidInput:
    return InvalidInput(f"The URL cannot be fetched. {why}", "BAD_URL")
