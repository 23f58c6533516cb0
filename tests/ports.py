"""Ports for processes that bind them later."""

from __future__ import annotations

import random
import socket
from contextlib import closing


def free_ports(count: int) -> list[int]:
    """Return free ports below those that the system gives to outgoing connections, which come and go all the time."""
    candidates = random.sample(range(15_000, 32_000), 50 * count)
    free = [port for port in candidates if _is_free(port)]
    return free[:count]


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
