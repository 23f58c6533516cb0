"""The limits that the parser child puts on itself, before it touches the document."""

from __future__ import annotations

import ctypes
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1
_OPEN_FILES = 64
_NOTHING = (0, 0)


def limit(memory_bytes: int, cpu_s: int, wall_s: int) -> None:
    """Bound address space, CPU time and life, forbid writing files, and die with the parent."""
    resource.setrlimit(resource.RLIMIT_CORE, _NOTHING)
    resource.setrlimit(resource.RLIMIT_FSIZE, _NOTHING)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    # The parent watches the clock; this ends a child whose parent is stopped.
    signal.setitimer(signal.ITIMER_REAL, wall_s)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
