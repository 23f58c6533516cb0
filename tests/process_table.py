"""Looking at processes that may end while they are looked at, and stopping them."""

from __future__ import annotations

import signal

import psutil

from tests.waiting import until_sync


def is_alive(process: psutil.Process) -> bool:
    """Whether a process runs, and is not one that ended and that nobody waited for yet."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped, with all of its threads, and waits to be told to go on."""
    try:
        threads = psutil.Process(pid).threads()
        return all(psutil.Process(thread.id).status() == psutil.STATUS_STOPPED for thread in threads)
    except psutil.NoSuchProcess:
        return False


def stop(pid: int) -> None:
    """Stop a process until it gets a SIGCONT.

    The signal alone is not enough: on a busy machine threads go on for tens of milliseconds, and still answer.
    """
    psutil.Process(pid).send_signal(signal.SIGSTOP)
    until_sync(lambda: is_stopped(pid))


def arguments(process: psutil.Process) -> list[str]:
    """What a process was started with; nothing when it has ended."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []
