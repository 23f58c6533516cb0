"""A parser server whose readers do what hostile documents make parsers do: one reader for each media type.

python -m tests.ingestor.hostile_readers
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from services.ingestor import frames
from services.ingestor.pages import Opening, Page
from services.ingestor.readers.server import serve


def good(path: Path) -> Iterator[Opening | Page]:
    yield Opening()
    yield Page(1, path.read_text())


def crash(path: Path) -> Iterator[Opening | Page]:
    yield Opening()
    yield Page(1, "before")
    ctypes.string_at(0)


def error(path: Path) -> Iterator[Opening | Page]:
    yield Opening()
    raise KeyError(path.read_text())


def quiet(path: Path) -> Iterator[Opening | Page]:
    yield Opening()
    os._exit(0)


def deaf(path: Path) -> Iterator[Opening | Page]:
    """Hangs, whatever it is asked to."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    yield Opening()
    yield Page(1, "before")
    while True:
        time.sleep(60)


def spin(path: Path) -> Iterator[Opening | Page]:
    yield Opening()
    while True:
        pass


def hoard(path: Path) -> Iterator[Opening | Page]:
    yield Opening()
    hoarded = []
    while True:
        hoarded.append(bytearray(1 << 20))


def garbage(path: Path) -> Iterator[Opening | Page]:
    os.write(1, frames.HEADER.pack(8) + b"not json")
    yield Opening()


def huge(path: Path) -> Iterator[Opening | Page]:
    os.write(1, frames.HEADER.pack(1 << 31))
    yield Opening()


def stranger(path: Path) -> Iterator[Opening | Page]:
    os.write(1, frames.encode("page", number="many"))
    yield Opening()


def mute(path: Path) -> Iterator[Opening | Page]:
    yield Opening()
    os.close(1)
    os.close(2)
    while True:
        time.sleep(60)


def work(path: Path) -> Iterator[Opening | Page]:
    """Half a second of work on each page."""
    yield Opening(8)
    for number in range(1, 9):
        end = time.process_time() + 0.5
        while time.process_time() < end:
            pass
        yield Page(number, "text")


def lag(path: Path) -> Iterator[Opening | Page]:
    """Sends its second page when its priority is the lowest."""
    yield Opening()
    yield Page(1, str(os.getpriority(os.PRIO_PROCESS, 0)))
    while os.getpriority(os.PRIO_PROCESS, 0) != 19:
        time.sleep(0.02)
    yield Page(2, "19")


def write(path: Path) -> Iterator[Opening | Page]:
    """Tries to leave something beside the document."""
    yield Opening()
    try:
        path.with_name("left").write_bytes(b"x" * 10_000)
    except OSError as error:
        yield Page(1, type(error).__name__)


def look(path: Path) -> Iterator[Opening | Page]:
    """Tells what it sees: its environment, its arguments, its open files, what is loaded."""
    yield Opening()
    proc = Path("/proc/self")
    yield Page(1, (proc / "environ").read_text() + (proc / "cmdline").read_text())
    files = [proc / "fd" / str(number) for number in range(64)]
    yield Page(2, " ".join(sorted(str(file.readlink()) for file in files if file.is_symlink())))
    yield Page(3, " ".join(sys.modules))


def load(media_type: str) -> ModuleType:
    reader = ModuleType(media_type)
    reader.read = globals()[media_type]
    return reader


if __name__ == "__main__":
    serve(socket.socket(fileno=0), load)
