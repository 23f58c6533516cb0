"""Child processes with prefixed output, which never outlive this one."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

_PR_SET_PDEATHSIG = 1
_MAX_LINE = 1 << 20
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Child:
    """One running child process."""

    name: str
    process: asyncio.subprocess.Process
    output: asyncio.Task[None]
    """Copies the child's lines; ends when the child closed its output."""

    async def stop(self, timeout_s: float) -> None:
        """Ask the child to stop; kill it when it does not within the time."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(timeout_s):
                await self.process.wait()
        except TimeoutError:
            self.kill()
            await self.process.wait()
        await self.output

    def kill(self) -> None:
        """Kill the child at once."""
        if self.process.returncode is None:
            self.process.kill()


class Children:
    """The children of this process, as an async context manager: leaving it stops the last started first."""

    def __init__(self, on_exit: Callable[[str, int], None], stop_timeout_s: float) -> None:
        self._on_exit = on_exit
        self._stop_timeout_s = stop_timeout_s
        self._children: list[Child] = []
        self._watches: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for watch in self._watches:
            watch.cancel()
        end = time.monotonic() + self._stop_timeout_s
        for child in reversed(self._children):
            await child.stop(max(end - time.monotonic(), 0.5))

    async def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start one child in a session of its own, so that Ctrl-C reaches only this process."""
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent,
            limit=_MAX_LINE,
        )
        child = Child(name, process, asyncio.create_task(_copy_output(name, process)))
        self._children.append(child)
        self._watches.append(asyncio.create_task(self._watch(child)))

    def kill(self) -> None:
        """Kill all children at once."""
        for child in self._children:
            child.kill()

    async def _watch(self, child: Child) -> None:
        code = await child.process.wait()
        await child.output
        self._on_exit(child.name, code)


async def _copy_output(name: str, process: asyncio.subprocess.Process) -> None:
    stream = process.stdout
    while stream is not None:
        try:
            line = await stream.readline()
        except ValueError:  # longer than the limit: the reader has dropped it
            continue
        if not line:
            return
        sys.stdout.write(f"{name:<9} | {line.decode(errors='replace')}")
        sys.stdout.flush()


def _die_with_parent() -> None:
    """Run between fork and exec: the kernel ends the child when this process dies, however it dies."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
