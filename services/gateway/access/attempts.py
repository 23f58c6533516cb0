"""How many bad credentials an address may bring: whoever guesses is stopped before a guess costs a question to a store."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rag.runtime.errors import Overloaded, Unavailable
from services.gateway.access.proxies import bare
from services.gateway.access.remembered import Remembered

_WINDOW_S = 60.0
_LONGEST_NAME = 100
_IPV6_SITE = 64


class Attempts:
    """A bucket for each address, in this process, which fills again over a minute.

    Args:
        per_min: How many bad credentials one minute may bring from an address.
        clock: Monotonic seconds.
        most: How many addresses are remembered.
    """

    def __init__(self, per_min: int, clock: Callable[[], float] = time.monotonic, most: int = 10_000) -> None:
        self._interval_s = _WINDOW_S / per_min
        self._clock = clock
        self._full_at: Remembered[str, float] = Remembered(most)

    @contextmanager
    def one(self, address: str) -> Iterator[None]:
        """Take one attempt for the length of a block; it is given back unless the credential turns out to be bad.

        Taken first: of a thousand that come at once, only so many are looked at.

        Raises:
            Overloaded: TOO_MANY_BAD_CREDENTIALS.
        """
        place = _place(address)
        self._take(place)
        try:
            yield
        except Unavailable:
            self._give_back(place)
            raise
        self._give_back(place)

    def _take(self, place: str) -> None:
        now = self._clock()
        full_at = max(self._full_at.get(place) or now, now) + self._interval_s
        wait_s = full_at - now - _WINDOW_S
        if wait_s > 1e-6:  # the sum of many intervals is not exactly the window
            message = "Too many bad credentials came from this address."
            raise Overloaded(message, "TOO_MANY_BAD_CREDENTIALS", wait_s)
        self._full_at.put(place, full_at)

    def _give_back(self, place: str) -> None:
        full_at = self._full_at.get(place)
        if full_at is not None:
            self._full_at.put(place, full_at - self._interval_s)


def _place(address: str) -> str:
    """Return who is counted as one: an IPv4 address, or the network of an IPv6 address, which one host has whole.

    Args:
        address: As `bare` takes it.
    """
    try:
        found = ipaddress.ip_address(bare(address))
    except ValueError:
        return address[:_LONGEST_NAME]
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    mapped = found.ipv4_mapped
    return str(mapped or ipaddress.ip_network((found, _IPV6_SITE), strict=False))
