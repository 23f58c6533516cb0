"""Fixtures for the doubles: a pytest plugin."""

from __future__ import annotations

import asyncio
import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


class ModelServer:
    """The OpenAI-compatible double, in a process of its own."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.base_url = f"http://127.0.0.1:{port}/v1"

    def script(self, **behaviour: Any) -> None:
        """Sets the behaviour of the next request; `times=None` for all. See `Behaviour` in model_server."""
        self._call("POST", "/control", behaviour)

    def reset(self) -> None:
        """Forgets the scripts and the requests received."""
        self._call("DELETE", "/control")

    def requests(self) -> list[dict[str, Any]]:
        """What was received since the reset, and what became of each."""
        return self._call("GET", "/control/requests")

    def counts(self) -> dict[str, int]:
        """How often each text was embedded and answered since the reset."""
        return self._call("GET", "/counts")["texts"]

    def refused(self) -> int:
        """How many requests were refused since the reset."""
        return self._call("GET", "/counts")["refused"]

    async def wait_received(self, index: int = 0, timeout_s: float = 20) -> dict[str, Any]:
        """Waits until the request with this index arrived."""
        return await self._wait(timeout_s, index=index, state="received")

    async def wait_chunks(self, chunks: int, index: int = 0, timeout_s: float = 20) -> dict[str, Any]:
        """Waits until so many events of the answer were written."""
        return await self._wait(timeout_s, index=index, state="chunks", chunks=chunks)

    async def wait_disconnect(self, index: int = 0, timeout_s: float = 20) -> dict[str, Any]:
        """Waits until the client of the request with this index left before its end."""
        return await self._wait(timeout_s, index=index, state="disconnected")

    async def _wait(self, timeout_s: float, **condition: Any) -> dict[str, Any]:
        seen = await asyncio.to_thread(self._call, "POST", "/control/wait", condition, timeout_s)
        return seen[condition["index"]]

    def _call(self, method: str, path: str, body: Any = None, timeout_s: float = 20) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


@contextmanager
def starting_model_server() -> Iterator[ModelServer]:
    """One more double in a process of its own, for the length of a block."""
    command = [sys.executable, "-m", "tests.doubles.model_server", "--with-stdin"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            word, port = process.stdout.readline().split()
            assert word == "listening"
            yield ModelServer(int(port))
        finally:
            process.kill()


@pytest.fixture(scope="session")
def model_server() -> Iterator[ModelServer]:
    """The double, started once; its scripts and counts are forgotten after every test that uses it."""
    with starting_model_server() as server:
        yield server


@pytest.fixture(autouse=True)
def _forget_scripts(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "model_server" in request.fixturenames:
        request.getfixturevalue("model_server").reset()
