"""Where a gRPC caller is: the other end of its connection, or what a proxy of ours says about it. uvicorn does the same for HTTP."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import unquote

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Proxies:
    """The proxies whose word about a caller's address is believed.

    Args:
        networks: Where they are. Whoever else says `X-Forwarded-For` says it in vain.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = tuple(networks)

    def caller(self, peer: str, forwarded: str) -> str:
        """Return the address of a caller.

        Args:
            peer: The other end of the connection, as `bare` takes it.
            forwarded: What `x-forwarded-for` says; each proxy adds the end of its own connection at the right.
        """
        address = bare(peer)
        hops = [hop.strip() for hop in forwarded.split(",") if hop.strip()]
        while hops and self._is_ours(address):
            address = bare(hops.pop())
        return address

    def _is_ours(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)


def bare(address: str) -> str:
    """Return an address without port and zone, given as an IP address or as gRPC writes it: `ipv4:10.0.0.1:1234`, `ipv6:%5B::1%5D:1234`."""
    plain = unquote(address)
    kind, _, rest = plain.partition(":")
    host = rest.rpartition(":")[0].strip("[]") if kind in {"ipv4", "ipv6"} else plain
    return host.partition("%")[0]
