"""The command as its users run it: a process, in a pipe or in a terminal, in front of a gateway."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.gateway import Gateway, running_gateway

ROOT = Path(__file__).resolve().parents[2]
_LIMIT_S = 60.0
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def lines(self) -> list[str]:
        return [" ".join(line.split()) for line in self.out.splitlines()]


Run = Callable[..., Awaitable[Done]]


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with running_gateway() as running:
        yield running


async def start(gateway: Gateway, *words: str, cwd: Path | None = None, **options: Any) -> asyncio.subprocess.Process:
    """Start the command; the caller ends it."""
    environment = {
        **{key: value for key, value in os.environ.items() if key not in {"COLUMNS", "FORCE_COLOR", "NO_COLOR"}},
        "GATEWAY_ADDRESS": gateway.address,
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm",
    }
    pipe = asyncio.subprocess.PIPE
    streams = {"stdin": asyncio.subprocess.DEVNULL, "stdout": pipe, "stderr": pipe, **options}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rag.cli", *words, cwd=cwd, env=environment, **streams
    )


@pytest.fixture
def ragmesh(gateway: Gateway, tmp_path: Path) -> Run:
    """Run the command in a pipe, in the test's folder."""

    async def run(*words: str) -> Done:
        process = await start(gateway, *words, cwd=tmp_path)
        async with asyncio.timeout(_LIMIT_S):
            out, err = await process.communicate()
        return Done(process.returncode or 0, out.decode(), err.decode())

    return run


@pytest.fixture
def in_terminal(gateway: Gateway, tmp_path: Path) -> Run:
    """Run the command in a pseudo-terminal of 100 columns; `out` is all that it wrote, `err` without escapes."""

    async def run(*words: str) -> Done:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        process = await start(gateway, *words, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        written = asyncio.create_task(asyncio.to_thread(_read_all, ours))
        async with asyncio.timeout(_LIMIT_S):
            code = await process.wait()
            text = await written
        os.close(ours)
        return Done(code, text, _ESCAPES.sub("", text))

    return run


def _read_all(fd: int) -> str:
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(fd, 65536)
        except OSError:  # how Linux ends a terminal whose other side is closed
            part = b""
        if not part:
            return b"".join(parts).decode()
        parts.append(part)
