"""Services as processes of their own that begin at once: forked from one that has imported them.

A service takes seconds to import what it needs, and tests that kill services start hundreds. All else is like in
`python -m services.NAME`.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import runpy
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

SERVICES = ("embedder", "retriever", "ingestor", "generator")
"""Those behind the gateway, in the order in which they are started."""

_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload([f"services.{name}.wiring" for name in SERVICES])


class WarmProcess:
    """A service that runs; its methods do what those of `subprocess.Popen` do.

    Args:
        service: Its name, such as `retriever`.
        environment: All of its environment.
        log: The file to which it writes.
    """

    def __init__(self, service: str, environment: Mapping[str, str], log: Path) -> None:
        arguments = (service, dict(environment), str(log))
        self._process = _FORKING.Process(target=_serve, args=arguments, name=service, daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process.pid
        return self._process.pid

    def poll(self) -> int | None:
        """Return how it ended; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Return how it ended; raise `subprocess.TimeoutExpired` when it did not within so many seconds."""
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        return code

    async def ended(self) -> int:
        """Wait for its end beside other work, and return how it ended."""
        return await asyncio.to_thread(self.wait)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def _serve(service: str, environment: Mapping[str, str], log: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    with Path(log).open("ab") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    runpy.run_module(f"services.{service}", run_name="__main__", alter_sys=True)
