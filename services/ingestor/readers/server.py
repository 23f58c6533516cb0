"""The parser server: forks one limited child per document. It never touches a byte of a document itself.

To start Python and load a library takes half a second; to fork a process that has done both takes milliseconds.

A byte on the control socket brings a socket for one document. On it lies the request as a line, with the child's standard
output and error. The server answers `{"pid": n}`, then `{"exit": status}`, and closes it. `SLOW_DOWN` lowers the child's
priority; the end of the other side kills it. So the one who kills is the one who reaps: no pid can be another's by then.
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import os
import resource
import selectors
import signal
import socket
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import NoReturn, cast

from services.ingestor.frames import NO_CHILD, NO_READER, SLOW_DOWN, ReadRequest
from services.ingestor.readers import child, limits
from services.ingestor.readers.kinds import READERS
from services.ingestor.readers.samples import SAMPLES

Load = Callable[[str], ModuleType]
"""Loads the module that reads a media type, or finds it loaded."""

_REQUEST_BYTES = 65_536
_LAST_IN_LINE = 19


class ParserServer:
    """Serves until the other side of `control` is closed."""

    def __init__(self, control: socket.socket, load: Load) -> None:
        self._control = control
        self._load = load
        self._selector = selectors.DefaultSelector()
        self._children: dict[int, socket.socket] = {}
        self._wake, self._woken = socket.socketpair()

    def run(self) -> None:
        """Serve, and leave no child behind."""
        self._watch_children()
        self._selector.register(self._control, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        try:
            while self._turn():
                pass
        finally:
            for pid in self._children:
                _kill(pid)
            for pid in self._children:
                os.waitpid(pid, 0)

    def _watch_children(self) -> None:
        for end in (self._wake, self._woken):
            end.setblocking(False)  # noqa: FBT003 - the standard library's name
        # The signal itself does nothing, but its number is written where the selector sees it.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)

    def _turn(self) -> bool:
        """Handle what has come; tell whether there can be more."""
        for key, _ in self._selector.select():
            if key.fileobj is self._control:
                if not self._accept():
                    return False
            elif key.fileobj is self._woken:
                self._woken.recv(4096)
                self._reap()
            else:
                self._obey(cast("socket.socket", key.fileobj), key.data)
        return True

    def _accept(self) -> bool:
        data, sessions, _, _ = socket.recv_fds(self._control, 1, 1)
        for fd in sessions:
            self._begin(socket.socket(fileno=fd))
        return bool(data)

    def _begin(self, session: socket.socket) -> None:
        line, pipes = _receive(session)
        try:
            if len(pipes) != 2 or not line.endswith(b"\n"):
                session.close()  # the other side has left
                return
            self._start(session, ReadRequest.decode(line), pipes)
        finally:
            for fd in pipes:
                os.close(fd)

    def _start(self, session: socket.socket, request: ReadRequest, pipes: list[int]) -> None:
        try:
            # Before the fork, so that the children to come have it loaded.
            reader = self._load(request.media_type)
        except Exception:  # noqa: BLE001 - a reader that does not load must not take the others along
            traceback.print_exc()
            _tell(session, exit=NO_READER)
            session.close()
            return
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            traceback.print_exc()
            _tell(session, exit=NO_CHILD)
            session.close()
            return
        if not pid:
            self._be_child(request, reader, parent, pipes)
        _own_group(pid)
        self._children[pid] = session
        self._selector.register(session, selectors.EVENT_READ, pid)
        _tell(session, pid=pid)

    def _be_child(self, request: ReadRequest, reader: ModuleType, parent: int, pipes: list[int]) -> NoReturn:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _own_group(0)
            self._let_go(pipes)
            status = child.run(request, reader, parent)
        except BaseException:  # noqa: BLE001 - nothing of the child's may run as the server's
            traceback.print_exc()
        finally:
            # Nothing of the server's may run here, neither its `finally`s nor what is registered for its exit.
            os._exit(status)

    def _let_go(self, pipes: list[int]) -> None:
        """Keep only the child's own three files."""
        for own in (self._control, self._wake, self._woken, *self._children.values()):
            own.detach()
        for number, fd in enumerate([os.open(os.devnull, os.O_RDONLY), *pipes]):
            os.dup2(fd, number)
        os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])

    def _obey(self, session: socket.socket, pid: int) -> None:
        order = _read(session)
        runs = self._children.get(pid) is session
        if not order:
            self._selector.unregister(session)
            if runs:
                _kill(pid)
            else:
                session.close()
        elif runs and SLOW_DOWN in order:
            with suppress(OSError):  # it may have just ended
                os.setpriority(os.PRIO_PROCESS, pid, _LAST_IN_LINE)

    def _reap(self) -> None:
        for pid, session in list(self._children.items()):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                del self._children[pid]
                _tell(session, exit=os.waitstatus_to_exitcode(status))
                if session.fileno() in self._selector.get_map():
                    # To close it over an order that was just sent would take our answer back.
                    with suppress(OSError):
                        session.shutdown(socket.SHUT_WR)
                else:
                    session.close()


@functools.cache
def reader_of(media_type: str) -> ModuleType:
    """The module that reads a type, loaded and used once."""
    name = READERS[media_type]
    reader = importlib.import_module(f"services.ingestor.readers.{name}")
    # What a library does on its first use takes longer than a small document.
    if name in SAMPLES and hasattr(os, "memfd_create"):
        with open(os.memfd_create(name), "wb", buffering=0) as sample:  # noqa: PTH123 - it has no path
            sample.write(SAMPLES[name])
            deque(reader.read(Path(f"/proc/self/fd/{sample.fileno()}")), maxlen=0)
    gc.freeze()
    return reader


def serve(control: socket.socket, load: Load = reader_of) -> None:
    """Serve until the other side leaves; die with the process that started this one."""
    limits.die_with(os.getppid())
    # In a group of its own a Ctrl-C does not reach it: who started it stops it. Not in a session of its own: Linux would
    # share the CPU between sessions first, and a child's low priority would count for nothing.
    _own_group(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Not needed for the little that the server does, and pages that nobody writes are shared with the children.
    gc.disable()
    ParserServer(control, load).run()


def _receive(session: socket.socket) -> tuple[bytes, list[int]]:
    # The request was written before the socket was passed on: nothing has to be waited for.
    line, pipes, _, _ = socket.recv_fds(session, _REQUEST_BYTES, 2)
    while not line.endswith(b"\n") and (more := _read(session)):
        line += more
    return line, list(pipes)


def _read(session: socket.socket) -> bytes:
    try:
        return session.recv(_REQUEST_BYTES, socket.MSG_DONTWAIT)
    except OSError:
        return b""  # the other side has left


def _tell(session: socket.socket, **fields: int) -> None:
    try:
        session.send(json.dumps(fields).encode() + b"\n", socket.MSG_DONTWAIT)
    except OSError:
        return  # the other side has left, and this says that it may


def _own_group(pid: int) -> None:
    try:
        os.setpgid(pid, pid)
    except OSError:
        return  # the child was faster, or has ended


def _kill(pid: int) -> None:
    for kill in (os.kill, os.killpg):
        try:
            kill(pid, signal.SIGKILL)
        except OSError:
            continue  # it has ended, and is not reaped yet
