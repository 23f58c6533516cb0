"""Who the client is to a gateway: a key, and the channel on which it may be sent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import grpc

from rag.runtime.context import CallContext
from rag.runtime.errors import FailedPrecondition, InvalidInput
from rag.runtime.loopback import is_loopback

AUTHORIZATION = "authorization"
_ADDRESS = re.compile(r"(?:(https?)://)?([^/\s]+)/?")
_HTTPS_PORT = 443
_HTTP_PORT = 80


class ApiKey:
    """Says who calls by a key. See `Connection` for the arguments and what is raised."""

    def __init__(self, address: str, key: str, authority_file: Path | None = None) -> None:
        scheme, self.target = _parted(address.strip())
        self._key = key.strip()
        if not (self._key.isascii() and self._key.isprintable()) or " " in self._key:
            raise InvalidInput("The key holds characters that no key has.", "BAD_KEY")
        self._roots = _read(authority_file)
        self._is_secure = scheme == "https" or (authority_file is not None and not scheme)
        if self._key and not (self._is_secure or scheme == "http" or is_loopback(_host(self.target))):
            message = (
                f"The key would travel unencrypted to {self.target}. Write https:// before the address for TLS, or http:// "
                "when the way there is safe."
            )
            raise FailedPrecondition(message, "KEY_IN_PLAIN_TEXT", address=self.target)

    def outgoing(self, _call: CallContext) -> tuple[str, str]:
        """Return the metadata that holds the key; the gateway finds the tenant by it."""
        return AUTHORIZATION, f"Bearer {self._key}" if self._key else ""

    def channel(self, target: str, options: Sequence[tuple[str, object]]) -> grpc.aio.Channel:
        """Open a channel to the gateway, encrypted when the address says so."""
        if self._is_secure:
            return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(self._roots), options=options)
        return grpc.aio.insecure_channel(target, options=options)


def _parted(address: str) -> tuple[str, str]:
    if address.startswith(("unix:", "dns:", "ipv4:", "ipv6:")):
        return "", address
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise InvalidInput(f"{address} is no address: write host:port or https://host.", "BAD_ADDRESS", address=address)
    scheme, place = found[1] or "", found[2]
    if scheme and not re.search(r":\d+$", place):
        place += f":{_HTTPS_PORT if scheme == 'https' else _HTTP_PORT}"
    return scheme, place


def _host(target: str) -> str:
    if target.startswith("unix:"):
        return target
    return target.rsplit("/", 1)[-1].rpartition(":")[0]


def _read(authority_file: Path | None) -> bytes | None:
    try:
        return authority_file.read_bytes() if authority_file else None
    except OSError as error:
        message = f"The authorities in {authority_file} cannot be read: {error.strerror}."
        raise FailedPrecondition(message, "AUTHORITY_FILE", file=str(authority_file)) from error
