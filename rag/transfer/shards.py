"""A tenant's documents in files: shards of length-delimited messages, and a manifest of those that are closed.

A shard is a sequence of `ExportIndexResponse`: a document, its passages, the next document. It is closed when it is large
enough; then its hash stands in the manifest, and it never changes again. The one being written ends in `.part`.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from rag.durable import sync
from rag.runtime.errors import FailedPrecondition

NAME = "manifest.json"
FORMAT = 1
_SHARD = re.compile(r"[0-9]{5}\.shard")


@dataclass(frozen=True, slots=True)
class Source:
    """What the vectors are of."""

    model: str
    revision: str
    dimension: int
    analyzer: str


@dataclass(frozen=True, slots=True)
class Shard:
    """A closed shard: its file, its size in bytes, its SHA-256 in hex, how much is in it and which document is its last."""

    name: str
    size: int
    sha256: str
    documents: int
    passages: int
    last: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The export of a tenant; `complete` when no document is missing any more."""

    tenant: str
    source: Source
    shards: tuple[Shard, ...] = ()
    complete: bool = False
    format: int = FORMAT

    @property
    def documents(self) -> int:
        """How many documents are in the closed shards."""
        return sum(shard.documents for shard in self.shards)

    @property
    def passages(self) -> int:
        """How many passages are in the closed shards."""
        return sum(shard.passages for shard in self.shards)


_MANIFEST = TypeAdapter(Manifest)


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest in a tenant's folder, None when there is none.

    Raises:
        FailedPrecondition: EXPORT_DAMAGED, EXPORT_FORMAT.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        fields: Any = json.loads(path.read_bytes())
        if isinstance(fields, dict) and fields.get("format") != FORMAT:
            message = f"{path} has the format {fields.get('format')}; this ragmesh reads {FORMAT}."
            raise FailedPrecondition(message, "EXPORT_FORMAT")
        manifest = _MANIFEST.validate_python(fields)
    except (ValueError, RecursionError, ValidationError) as error:
        raise damaged(path, "it is not a manifest") from error
    for shard in manifest.shards:
        if not _SHARD.fullmatch(shard.name):
            raise damaged(path, f"it names {shard.name!r}, which is no shard")
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest in one step."""
    draft = folder / f"{NAME}.part"
    draft.write_text(json.dumps(asdict(manifest), indent=1))
    sync(draft)
    draft.replace(folder / NAME)
    sync(folder)


def check_shard(folder: Path, shard: Shard) -> None:
    """Make sure that a closed shard is what it was.

    Raises:
        FailedPrecondition: EXPORT_DAMAGED.
    """
    path = folder / shard.name
    if not path.is_file():
        raise damaged(path, "it is missing")
    if path.stat().st_size != shard.size:
        raise damaged(path, f"it has {path.stat().st_size} bytes instead of {shard.size}")
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != shard.sha256:
            raise damaged(path, "its SHA-256 is another one")


def damaged(path: Path, why: str) -> FailedPrecondition:
    """Return the error for a file that is not as it was written."""
    return FailedPrecondition(f"{path} is damaged: {why}.", "EXPORT_DAMAGED")
