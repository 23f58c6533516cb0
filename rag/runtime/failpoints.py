"""Named points at which a test can have the process killed, as a crash would, or stopped, as a sleeping machine would.

Off unless RAG_FAILPOINT says otherwise. The points are listed in `docs/operations`.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass


@dataclass(slots=True)
class _Armed:
    name: str = ""
    left: int = 0
    signal: signal.Signals = signal.SIGKILL


_armed = _Armed()


def arm(setting: str) -> None:
    """Arm one point, given as `name:n`: reaching it for the n-th time kills the process, `name:n:stop` stops it. Empty arms none."""
    name, _, rest = setting.partition(":")
    nth, _, stop = rest.partition(":")
    _armed.name, _armed.left = name, int(nth or 0)
    _armed.signal = signal.SIGSTOP if stop else signal.SIGKILL


def reach(name: str) -> None:
    """Say that a point is reached. A process whose point this is dies here by SIGKILL: nothing is cleaned up.

    Or it is stopped here by SIGSTOP, and goes on when it gets a SIGCONT.
    """
    if _armed.name != name:
        return
    _armed.left -= 1
    if not _armed.left:
        os.kill(os.getpid(), _armed.signal)
