"""Writing shards: whole documents only, and from where an earlier run stopped."""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import replace
from pathlib import Path

from rag.transfer.framing import frame, places
from rag.transfer.shards import Manifest, Shard, write_manifest
from rag.v1 import retriever_pb2 as pb


class Writer:
    """Appends documents to a tenant's shards.

    Args:
        folder: The tenant's folder.
        manifest: What is there already.
        shard_bytes: How large a shard is when it is closed.
    """

    def __init__(self, folder: Path, manifest: Manifest, shard_bytes: int) -> None:
        self.manifest = manifest
        self._folder = folder
        self._shard_bytes = shard_bytes
        self._file: io.BufferedRandom | None = None
        self._documents = self._passages = self._whole = 0
        self._last = manifest.shards[-1].last if manifest.shards else ""
        self._left = 0

    @property
    def last(self) -> str:
        """The last document that is whole; empty when none is."""
        return self._last

    @property
    def documents(self) -> int:
        """How many documents are whole."""
        return self.manifest.documents + self._documents

    @property
    def passages(self) -> int:
        """How many passages they have."""
        return self.manifest.passages + self._passages

    def resume(self) -> None:
        """Go on behind the last whole document of the shard that an earlier run left open."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._part()
        path.touch()
        for place in places(path):
            self._note(place.document_id, place.passages, place.end)
        self._file = path.open("r+b")
        self._drop_half()

    def add(self, part: pb.ExportIndexResponse) -> None:
        """Append a part of the stream: a document that begins before the one before it was whole takes its place."""
        file = self._opened()
        if part.HasField("document"):
            self._drop_half()
            self._begun = part.document.document
            self._left = self._begun.passage_count
        else:
            self._left -= len(part.passages.passages)
        file.write(frame(part))
        if self._left == 0:
            self._note(self._begun.id, self._begun.passage_count, file.tell())
            if file.tell() >= self._shard_bytes:
                self._close_shard()

    def finish(self, *, complete: bool) -> None:
        """Close the files; a later run goes on from here unless it is complete."""
        if self._file is None:
            return
        self._drop_half()
        if complete:
            if self._documents:
                self._close_shard()
            self._opened().close()
            self._part().unlink(missing_ok=True)
            self.manifest = replace(self.manifest, complete=True)
            write_manifest(self._folder, self.manifest)
        else:
            self._opened().close()
        self._file = None

    def _note(self, document_id: str, passages: int, end: int) -> None:
        self._last, self._whole = document_id, end
        self._documents += 1
        self._passages += passages

    def _drop_half(self) -> None:
        file = self._opened()
        file.seek(self._whole)
        file.truncate()

    def _close_shard(self) -> None:
        file = self._opened()
        file.flush()
        os.fsync(file.fileno())
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        name = f"{len(self.manifest.shards):05}.shard"
        self._part().replace(self._folder / name)
        shard = Shard(name, self._whole, digest, self._documents, self._passages, self._last)
        self.manifest = replace(self.manifest, shards=(*self.manifest.shards, shard))
        write_manifest(self._folder, self.manifest)
        file.close()
        self._documents = self._passages = self._whole = 0
        self._part().touch()
        self._file = self._part().open("r+b")

    def _part(self) -> Path:
        return self._folder / f"{len(self.manifest.shards):05}.shard.part"

    def _opened(self) -> io.BufferedRandom:
        if self._file is None:
            raise RuntimeError("resume() opens the shard")
        return self._file
