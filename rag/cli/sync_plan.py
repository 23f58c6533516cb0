"""What a sync would do, as plain data: a folder on one side, what the server has of it on the other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file of the folder: its path below it, and the SHA-256 of its content in hex."""

    path: str
    content_hash: str
    """Empty when it need not or cannot be known: then it differs from every other."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A document on the server that an earlier sync of the same label made."""

    document_id: str
    path: str
    content_hash: str
    """Empty when the document exists only as a job."""
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What there is to do. Files are named by their paths."""

    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    under_way: tuple[str, ...] = ()
    """Files whose last upload is still being ingested: what to do shows when it has ended."""
    unchanged: tuple[str, ...] = ()
    removed: tuple[Remote, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.new or self.changed or self.under_way or self.removed)


def label_prefix(label: str) -> str:
    """Return how the ids of all documents of a label begin, so that a job tells its label too."""
    return f"sync_{hashlib.sha256(label.encode()).hexdigest()[:12]}_"


def document_id(label: str, path: str) -> str:
    """Return the id of the document that a file becomes: the same for every sync from anywhere."""
    return label_prefix(label) + hashlib.sha256(f"{label}\0{path}".encode()).hexdigest()[:24]


def make_plan(
    label: str,
    local: Iterable[LocalFile],
    remote: Iterable[Remote],
    under_way: AbstractSet[str] = frozenset(),
    is_unsure: Callable[[str], bool] = lambda _path: False,
) -> Plan:
    """Compare a folder with the server.

    Args:
        label: The name under which the folder is synced.
        local: Its files.
        remote: What the server has of this label; documents of other labels among it are left alone.
        under_way: The ids of documents with an unfinished job.
        is_unsure: Tells of a path that is not in the folder whether it may be there all the same, because something could not be read. Such
            a document is kept.
    """
    files = {document_id(label, file.path): file for file in local}
    known = {entry.document_id: entry for entry in remote if entry.document_id.startswith(label_prefix(label))}
    kinds: dict[str, list[str]] = {"new": [], "changed": [], "under_way": [], "unchanged": []}
    for identity, file in sorted(files.items(), key=lambda pair: pair[1].path):
        kinds["under_way" if identity in under_way else _kind(file, known.get(identity))].append(file.path)
    gone = [entry for identity, entry in known.items() if identity not in files and not is_unsure(entry.path)]
    removed = tuple(sorted(gone, key=lambda entry: entry.path))
    return Plan(**{kind: tuple(paths) for kind, paths in kinds.items()}, removed=removed)


def _kind(file: LocalFile, entry: Remote | None) -> str:
    if entry is None or not entry.content_hash:
        return "new"
    return "unchanged" if file.content_hash == entry.content_hash else "changed"


def sizes_of(remote: Iterable[Remote]) -> Mapping[str, int]:
    """Return the size of each document by its id: a file of another size need not be hashed."""
    return {entry.document_id: entry.size_bytes for entry in remote if entry.content_hash}
