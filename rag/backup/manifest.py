"""The manifest of a backup: what is in it, and what each file must be. It is written last; without it there is no backup."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from rag.access.pepper import FILE
from rag.runtime.errors import FailedPrecondition

NAME = "manifest.json"
FORMAT = 1
INDEX = "milvus/ragmesh.db"
CATALOGUE = "redis/dump.rdb"
PEPPER = FILE.as_posix()
_ID = "[A-Za-z0-9_-]{1,64}"
_PATH = re.compile(rf"{re.escape(INDEX)}|{re.escape(CATALOGUE)}|{re.escape(PEPPER)}|blobs/{_ID}/{_ID}")
"""All that a backup may hold: no path of a manifest leads anywhere else."""
_MOST_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Entry:
    """A file: its path inside the backup, its size in bytes, its SHA-256 in hex."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """A backup; `documents` counts those of each tenant just before it was taken."""

    created_at: str
    ragmesh: str
    redis: str
    documents: Mapping[str, int]
    files: Sequence[Entry]
    format: int = FORMAT
    digest: str = field(default="", compare=False)

    @property
    def size_bytes(self) -> int:
        """The size of all files together."""
        return sum(entry.size for entry in self.files)


_MANIFEST = TypeAdapter(Manifest)


def dump(manifest: Manifest) -> str:
    """Return the manifest as JSON, with a digest of itself."""
    fields = {**asdict(manifest), "files": [asdict(entry) for entry in manifest.files]}
    return json.dumps({**fields, "digest": digest_of(fields)}, indent=1)


def load(folder: Path) -> Manifest:
    """Return the manifest of a backup.

    Raises:
        FailedPrecondition: NO_BACKUP, BACKUP_DAMAGED, BACKUP_FORMAT.
    """
    path = folder / NAME
    if not path.is_file() or path.is_symlink():
        hint = " It broke off while it was taken." if folder.name.endswith(".partial") else ""
        raise FailedPrecondition(f"{folder} is no backup: it has no {NAME}.{hint}", "NO_BACKUP")
    fields = _read(path)
    if fields.get("format") != FORMAT:
        message = f"The backup has the format {fields.get('format')}; this ragmesh reads {FORMAT}."
        raise FailedPrecondition(message, "BACKUP_FORMAT")
    try:
        manifest = _MANIFEST.validate_python(fields, strict=False)
    except ValidationError as error:
        raise damaged([f"{NAME} is not a manifest"]) from error
    if manifest.digest != digest_of(fields):
        raise damaged([f"{NAME} was changed after it was written"])
    _check_paths(manifest)
    return manifest


def damaged(problems: Sequence[str], most: int = 10) -> FailedPrecondition:
    """Return the error for a backup with these problems."""
    more = f"; and {len(problems) - most} more" if len(problems) > most else ""
    return FailedPrecondition(f"The backup is damaged: {'; '.join(problems[:most])}{more}.", "BACKUP_DAMAGED")


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise damaged([f"{NAME} is too large"])
        fields = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise damaged([f"{NAME} is not JSON"]) from error
    if not isinstance(fields, dict):
        raise damaged([f"{NAME} is not a manifest"])
    return fields


def digest_of(fields: Mapping[str, Any]) -> str:
    """Return the digest that a manifest with these fields carries."""
    rest = {key: value for key, value in fields.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _check_paths(manifest: Manifest) -> None:
    paths = [entry.path for entry in manifest.files]
    problems = [f"{NAME} names {path!r}, which no backup holds" for path in paths if not _PATH.fullmatch(path)]
    problems += [f"{NAME} names {path} {times} times" for path, times in Counter(paths).items() if times > 1]
    problems += [f"{NAME} does not name {path}" for path in (INDEX, CATALOGUE) if path not in paths]
    if problems:
        raise damaged(problems)
