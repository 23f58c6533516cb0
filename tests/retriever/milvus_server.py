"""A Milvus-compatible server over TCP for the tests: `milvus-lite server` of 3.2 from an environment of its own."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from rag.cli.own_services import free_ports
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
COMMAND = ROOT / ".venv-milvus" / "bin" / "milvus-lite"
_START_S = 100.0
"""On a busy machine loading its libraries alone takes half of it."""
MISSING = f"no {COMMAND.relative_to(ROOT)}: `make milvus-server` installs it"


@dataclass
class MilvusServer:
    """One server over one folder; after a stop it starts again on the same port."""

    folder: Path
    port: int = field(default_factory=lambda: free_ports(1)[0])
    process: asyncio.subprocess.Process | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                COMMAND, "server", "--data-dir", self.folder / "data", "--host", "127.0.0.1", "--port", str(self.port),
                stdout=log, stderr=log,
            )  # fmt: skip
        await until(self.answers, _START_S)

    async def answers(self) -> bool:
        assert self.process is not None
        assert self.process.returncode is None, (self.folder / "log").read_text()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            try:
                await asyncio.wait_for(channel.channel_ready(), 0.5)
            except TimeoutError:
                return False
        return True

    async def stop(self, number: signal.Signals = signal.SIGKILL) -> None:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        await self.process.wait()
        self.process._transport.close()
