"""The parent of the embedded engine, run as a script of its own: it lets the engine outlive a retriever for a short time.

    python -I -S milvus_lite_keeper.py LISTENER ALIVE LOCK LOG COMMAND...

LISTENER is an open unix socket, bound to a path in a folder of its own that is removed in the end; ALIVE an open file that is
locked as long as this process or the engine lives. LOCK is the file by which the engine notices that this process is gone.

The retriever in charge is the one connection. It is told the engine's process id, and says in lines: `linger S`, how many
seconds the engine shall outlive it; `write` and `done`, around what must not go on after its end. When the engine ends,
this process says `exit CODE` and ends too.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

_FIRST_WAIT_S = 10.0
_STOP_S = 2.0


class Keeper:
    """Watches an engine and its owner."""

    def __init__(self, listener: socket.socket, engine: subprocess.Popen[bytes], ended: int) -> None:
        self._listener = listener
        self._engine = engine
        self._ended = ended
        self._owner: socket.socket | None = None
        self._lines = b""
        self._linger_s = 0.0
        self._writes = 0
        self._until = time.monotonic() + _FIRST_WAIT_S

    def run(self) -> None:
        """Return when the engine has ended, or when nobody needs it any more."""
        while True:
            source = self._owner or self._listener
            wait_s = None if self._owner else max(self._until - time.monotonic(), 0)
            watched: list[int | socket.socket] = [self._ended, source]
            ready, _, _ = select.select(watched, [], [], wait_s)
            if self._ended in ready:
                self._tell(f"exit {self._engine.wait()}")
                return
            if not ready:
                return
            if self._owner is None:
                self._accept()
            elif not self._hear(self._owner):
                return

    def _accept(self) -> None:
        self._owner, _ = self._listener.accept()
        self._lines, self._linger_s, self._writes = b"", 0.0, 0
        self._tell(f"engine {self._engine.pid}")

    def _hear(self, owner: socket.socket) -> bool:
        """Take in what the owner says; return False when the engine must not go on."""
        try:
            data = owner.recv(4096)
        except ConnectionResetError:
            data = b""
        *lines, self._lines = (self._lines + data).split(b"\n")
        for line in lines:
            self._obey(*line.split())
        if data:
            return True
        owner.close()
        self._owner, self._until = None, time.monotonic() + self._linger_s
        # A write that goes on would come after what the next retriever erases at its start.
        return not self._writes and self._linger_s > 0

    def _obey(self, word: bytes, number: bytes = b"0") -> None:
        if word == b"linger":
            self._linger_s = float(number)
        elif word == b"write":
            self._writes += 1
        elif word == b"done":
            self._writes -= 1

    def _tell(self, line: str) -> None:
        if self._owner is not None:
            try:
                self._owner.sendall(f"{line}\n".encode())
            except OSError:  # it is gone, which is noticed next
                return


def main() -> None:
    """Run the engine and watch it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    listener, alive, command = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), sys.argv[5:]
    folder = Path(listener.getsockname()).parent
    with Path(sys.argv[3]).open("a") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ended, life = os.pipe()
        with Path(sys.argv[4]).open("wb") as log:
            engine = subprocess.Popen(command, pass_fds=(alive, life), stdout=log, stderr=log)  # noqa: S603
        os.close(life)  # the engine's end closes the last one
        try:
            Keeper(listener, engine, ended).run()
        finally:
            listener.close()
            _stop(engine)
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()


def _stop(engine: subprocess.Popen[bytes]) -> None:
    engine.terminate()  # what it acknowledged is on disk
    try:
        engine.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        engine.kill()
        engine.wait()


if __name__ == "__main__":
    main()
