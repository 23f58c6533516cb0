"""The files that the arguments of a command mean: files, folders, and globs that the shell did not see."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rag.runtime.errors import InvalidInput, NotFound


@dataclass(frozen=True, slots=True)
class Folder:
    """What is in a folder and all folders below, in order of their paths. Hidden files and folders are left out."""

    files: tuple[Path, ...]
    unreadable: tuple[Path, ...] = ()
    """Folders that cannot be listed and links that lead to nothing: what would be there is not known."""
    outside: tuple[Path, ...] = ()
    """Links that lead out of the folder; they are not followed."""


def look_through(root: Path) -> Folder:
    """List the files of a folder. Links to folders are never followed, links to files only inside the folder."""
    files: list[Path] = []
    unreadable: list[Path] = []
    outside: list[Path] = []

    def not_listed(error: OSError) -> None:
        unreadable.append(Path(error.filename))

    real = os.path.realpath(root)
    for place, folders, names in os.walk(root, onerror=not_listed):
        folders[:] = [name for name in folders if not _hidden(name)]
        for path in (Path(place, name) for name in (*folders, *names) if not _hidden(name)):
            # Path.is_symlink raises in a folder that may be listed and not entered.
            if os.path.islink(path) and not Path(os.path.realpath(path)).is_relative_to(real):  # noqa: PTH114
                outside.append(path)
            elif (mode := _mode(path)) is None:
                unreadable.append(path)
            elif stat.S_ISREG(mode):
                files.append(path)
    return Folder(tuple(sorted(files)), tuple(sorted(unreadable)), tuple(sorted(outside)))


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except OSError:
        return None


def find_files(arguments: Iterable[str]) -> list[Path]:
    """Return the files that arguments mean, each once, in the order of the arguments.

    What cannot be listed or found below a folder is among them: whoever reads it hears why.

    Raises:
        NotFound: NO_SUCH_FILE for a path that does not exist or a glob that nothing matches.
        InvalidInput: NOT_A_FILE for what is neither file nor folder, such as a socket.
    """
    seen: dict[Path, Path] = {}
    for argument in arguments:
        for path in _files_of(argument):
            seen.setdefault(path.absolute(), path)
    return list(seen.values())


def _files_of(argument: str) -> Sequence[Path]:
    path = Path(argument).expanduser()
    if path.is_dir():
        folder = look_through(path)
        return sorted((*folder.files, *folder.unreadable))
    if path.is_file():
        return [path]
    if path.exists():
        raise InvalidInput(f"{argument} is neither a file nor a folder.", "NOT_A_FILE")
    matches = _matches(str(path))
    if not matches:
        what = "Nothing matches" if glob.has_magic(argument) else "There is no file or folder"
        raise NotFound(f"{what} {argument}.", "NO_SUCH_FILE")
    return [match for match in matches if match.is_file()]


def _matches(pattern: str) -> list[Path]:
    # Path.glob takes hidden files too, and no absolute patterns.
    found = glob.glob(pattern, recursive=True) if glob.has_magic(pattern) else []  # noqa: PTH207
    return sorted(Path(match) for match in found)


def _hidden(name: str) -> bool:
    return name.startswith(".")
