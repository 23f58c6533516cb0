"""The limits that a parser child puts on itself, before it touches the document."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

from services.ingestor.frames import ReaderLimits

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_OPEN_FILES = 64
_NOTHING = (0, 0)


def limit(limits: ReaderLimits, parent: int) -> None:
    """Bound address space, CPU time and life, forbid writing files, and die with the process `parent`."""
    resource.setrlimit(resource.RLIMIT_CORE, _NOTHING)
    resource.setrlimit(resource.RLIMIT_FSIZE, _NOTHING)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
    memory = _address_space() + limits.memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    # One second more than the most that is ever granted: the soft limit ends the child first, and says what for.
    resource.setrlimit(resource.RLIMIT_CPU, (_whole(limits.cpu_s, limits), limits.cpu_most_s + 1))
    # The parent watches the clock; this ends a child whose parent is stopped.
    signal.setitimer(signal.ITIMER_REAL, limits.life_s)
    die_with(parent)


def grant(limits: ReaderLimits, items: int) -> None:
    """Allow the CPU time that a document of so many items deserves: long documents are not hostile ones."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    allowed = _whole(limits.cpu_s + items * limits.cpu_page_s, limits)
    if allowed > soft:
        resource.setrlimit(resource.RLIMIT_CPU, (allowed, hard))


def die_with(parent: int) -> None:
    """Be killed when the process `parent`, which started this one, ends. Only Linux can promise it."""
    if sys.platform != "linux":
        return
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # it ended before we asked


def _whole(cpu_s: float, limits: ReaderLimits) -> int:
    return min(max(1, round(cpu_s)), limits.cpu_most_s)


def _address_space() -> int:
    """What the process has already, in bytes; 0 where the kernel does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return 0
    return pages * resource.getpagesize()
