"""Exporting tenants to files, and going on where an earlier run stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Protocol

from rag.client.sending import ATTEMPTS, FIRST_PAUSE_S, MOST_PAUSE_S
from rag.runtime.backoff import full_jitter
from rag.runtime.errors import DeadlineExceeded, FailedPrecondition, Overloaded, Unavailable
from rag.transfer.shards import Manifest, Source, read_manifest, write_manifest
from rag.transfer.writing import Writer
from rag.v1 import retriever_pb2 as pb

SHARD_BYTES = 64 << 20
_STREAM_S = 3_000.0

Report = Callable[[str, int, int, int], None]
"""Told of a tenant: how many documents are through, how many there are, and how many passages."""


class Exported(Protocol):
    """The retriever."""

    def export(self, tenant: str, after: str, timeout_s: float) -> AsyncGenerator[pb.ExportIndexResponse, None]:
        """Stream a tenant's documents behind an id."""


def source_of(part: pb.ExportIndexResponse) -> Source:
    """Return what the vectors of an export are of, as its first message says.

    Raises:
        Unavailable: BAD_EXPORT.
    """
    if not part.HasField("index"):
        raise Unavailable("The export does not begin with its index.", "BAD_EXPORT")
    index = part.index.index
    return Source(index.model, index.revision, index.dimension, index.analyzer)


async def export_tenant(
    retriever: Exported,
    tenant: str,
    folder: Path,
    report: Report,
    *,
    shard_bytes: int = SHARD_BYTES,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Manifest:
    """Write what is missing of a tenant's export; an export that is complete stays as it is.

    Raises:
        FailedPrecondition: EXPORT_DAMAGED, EXPORT_FORMAT; EXPORT_OTHER_INDEX when the folder has vectors of another index.
        RagError: what the retriever refuses it with.
        OSError: a file cannot be read or written.
    """
    before = read_manifest(folder)
    if before is not None and before.complete:
        report(tenant, before.documents, before.documents, before.passages)
        return before
    run = _Run(retriever, tenant, folder, report, shard_bytes)
    failures, reached = 0, ""
    while True:
        try:
            await run.once(read_manifest(folder))
            break
        except (Unavailable, Overloaded, DeadlineExceeded):
            failures = failures + 1 if run.reached == reached else 1
            if failures == ATTEMPTS:
                raise
            reached = run.reached
        await pause(full_jitter(failures, FIRST_PAUSE_S, MOST_PAUSE_S))
    done = read_manifest(folder)
    if done is None:
        raise FailedPrecondition(f"{folder} vanished while it was written.", "EXPORT_DAMAGED")
    return done


class _Run:
    """One stream after another into the same shards."""

    def __init__(self, retriever: Exported, tenant: str, folder: Path, report: Report, shard_bytes: int) -> None:
        self._retriever = retriever
        self._tenant = tenant
        self._folder = folder
        self._report = report
        self._shard_bytes = shard_bytes
        self.reached = ""

    async def once(self, before: Manifest | None) -> None:
        """Follow one stream to its end, or leave behind what was whole when it broke."""
        writer = self._resumed(before) if before else None
        complete = False
        try:
            async with aclosing(
                self._retriever.export(self._tenant, writer.last if writer else "", _STREAM_S)
            ) as parts:
                first = await anext(parts)
                source = source_of(first)
                if writer is None:
                    writer = self._begun(source)
                elif writer.manifest.source != source:
                    model = writer.manifest.source.model
                    message = f"{self._folder} holds vectors of {model}, the index has others: export to a new folder."
                    raise FailedPrecondition(message, "EXPORT_OTHER_INDEX")
                await self._follow(parts, writer, first.index.documents)
                complete = True
        finally:
            if writer is not None:
                self.reached = writer.last
                writer.finish(complete=complete)

    def _begun(self, source: Source) -> Writer:
        """Return the writer of a new export; from here on it is known what its first open shard is of."""
        manifest = Manifest(self._tenant, source)
        self._folder.mkdir(parents=True, exist_ok=True)
        write_manifest(self._folder, manifest)
        return self._resumed(manifest)

    def _resumed(self, manifest: Manifest) -> Writer:
        writer = Writer(self._folder, manifest, self._shard_bytes)
        writer.resume()
        return writer

    async def _follow(self, parts: AsyncGenerator[pb.ExportIndexResponse, None], writer: Writer, total: int) -> None:
        self._report(self._tenant, writer.documents, total, writer.passages)
        async for part in parts:
            writer.add(part)
            self._report(self._tenant, writer.documents, max(total, writer.documents), writer.passages)
