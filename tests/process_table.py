"""Looking at processes that may end while they are looked at."""

from __future__ import annotations

import psutil


def is_alive(process: psutil.Process) -> bool:
    """Whether a process runs, and is not one that ended and that nobody waited for yet."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped, and waits to be told to go on."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False


def arguments(process: psutil.Process) -> list[str]:
    """What a process was started with; nothing when it has ended."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []
