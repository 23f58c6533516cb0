"""The folder of the embedded engine: its file, its locks, its logs, and what one retriever leaves there for the next."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import shutil
from pathlib import Path
from typing import IO

from rag.runtime.errors import FailedPrecondition


class EngineFolder:
    """What lies beside the engine's file.

    `owner.lock` is held by the retriever in charge, `engine.lock` by the keeper, `alive.lock` by the keeper and the engine together.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.database = self.path / "ragmesh.db"
        self.engine_lock = self.path / "engine.lock"
        self._record = self.path / "engine.json"

    def own(self) -> IO[str]:
        """Take the folder for this process alone, until the file that is returned is closed.

        Raises:
            FailedPrecondition: INDEX_IN_USE when another process has it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        owned = (self.path / "owner.lock").open("a")
        try:
            fcntl.lockf(owned, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owned.close()
            message = f"Another process uses the index in {self.path}."
            raise FailedPrecondition(message, "INDEX_IN_USE") from error
        return owned

    def take_alive(self) -> IO[str] | None:
        """Return the lock that an engine and its keeper inherit; None while an earlier one of them still lives."""
        alive = (self.path / "alive.lock").open("a")
        try:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            alive.close()
            return None
        return alive

    def remember(self, sockets: Path) -> None:
        """Write down for the next retriever where the engine of this file is reached."""
        new = self._record.with_suffix(".new")
        new.write_text(json.dumps({"sockets": str(sockets), "identity": self._identity()}))
        new.replace(self._record)

    def remembered(self) -> tuple[Path, bool] | None:
        """Return where the engine that was left is reached, and whether it has this very file open and is this very program."""
        try:
            record = json.loads(self._record.read_text())
        except FileNotFoundError:  # its retriever died while it started
            return None
        return Path(record["sockets"]), record["identity"] == self._identity()

    def forget(self) -> None:
        """Remove what an engine left whose keeper was killed."""
        remembered = self.remembered()
        if remembered is not None:
            sockets, _ = remembered
            if sockets.name.startswith("ragmesh-"):
                shutil.rmtree(sockets, ignore_errors=True)
            self._record.unlink()

    def fresh_log(self) -> Path:
        """Return the file that takes what the engine writes."""
        log_file = self.path / "engine.log"
        if log_file.exists():  # the last words of an engine that died are worth keeping
            log_file.replace(self.path / "engine.previous.log")
        return log_file

    def fresh_temporary(self) -> Path:
        """Return an empty folder for the logs of the engine's own: a line per call, new files at each start, none ever removed."""
        folder = self.path / "tmp"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def _identity(self) -> list[int]:
        if not self.database.exists():
            return []
        file, program = self.database.stat(), (library() / "milvus").stat()
        return [file.st_dev, file.st_ino, program.st_dev, program.st_ino, program.st_mtime_ns]


def library() -> Path:
    """Return where the engine's program and its libraries are.

    Raises:
        FailedPrecondition: INDEX_MISSING when they are not installed.
    """
    # Found, not imported: importing the package warns about pkg_resources.
    spec = importlib.util.find_spec("milvus_lite")
    if spec is None or not spec.submodule_search_locations:
        message = "milvus-lite is not installed; MILVUS_URI can name a Milvus server instead."
        raise FailedPrecondition(message, "INDEX_MISSING")
    return Path(spec.submodule_search_locations[0]) / "lib"
