"""`ragmesh ingest`: files, folders and globs, on their way to being searchable."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from rag.cli.ingesting import Ingestion, Item
from rag.cli.pairs import metadata_of
from rag.cli.sources import find_files
from rag.cli.summary import summary
from rag.cli.terminal import (
    DEFAULT_ADDRESS,
    UPLOAD_TIMEOUT_S,
    Address,
    Json,
    connected,
    err,
    out,
    run,
    say_when_away,
)
from rag.cli.views import Bars, JsonLines, Lines
from rag.client import RagClient
from rag.metadata import Scalar
from rag.runtime.errors import InvalidInput, RagError
from rag.v1 import ingestor_pb2 as pb

MOST_PARALLEL = 32  # a server lets few dozen jobs be watched at once
_URLS = ("http://", "https://")
Parallel = Annotated[int, typer.Option(min=1, max=MOST_PARALLEL, help="How many files are under way at once.")]
Password = Annotated[
    str, typer.Option(help="The password of an encrypted file; - asks for it, unseen by other processes.")
]


@dataclass(frozen=True, slots=True)
class Describing:
    """What is said about every file that is sent."""

    title: str = ""
    document_id: str = ""
    password: str = ""
    metadata: Mapping[str, Scalar] | None = None


def ingest(
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Files, folders, quoted globs, or URLs.")],
    *,
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="For filters. Numbers, true and false are such.")
    ] = None,
    title: Annotated[str, typer.Option(help="The title; for one file.")] = "",
    document_id: Annotated[str, typer.Option(help="The document's id; for one file. A new version if it exists.")] = "",
    password: Password = "",
    parallel: Parallel = 4,
    detach: Annotated[bool, typer.Option("--detach", help="Send the files and do not wait for their jobs.")] = False,
    as_json: Json = False,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Send files and watch them become searchable. Folders are read with all below, without hidden files.

    Exit code 0 when all are searchable (sent, with --detach), else 1.
    """
    try:
        items = _items(paths, Describing(title, document_id, asked(password), metadata_of(metadata or [])))
    except RagError as error:
        raise typer.BadParameter(error.message) from error
    run(_ingest(items, address, parallel, detach=detach, as_json=as_json))


def asked(password: str) -> str:
    """Return a password; `-` asks for it at the terminal."""
    return str(typer.prompt("Password", hide_input=True, err=True)) if password == "-" else password  # noqa: S105 - a dash, not a secret


def _items(paths: Sequence[str], about: Describing) -> list[Item]:
    items = [Item(path, partial(_send_url, path, about)) for path in paths if path.startswith(_URLS)]
    items += file_items(find_files(path for path in paths if not path.startswith(_URLS)), about)
    if not items:
        raise InvalidInput("There are no files in there.", "NO_FILES")
    if len(items) > 1 and (about.title or about.document_id):
        raise InvalidInput(f"--title and --document-id are for one file, and these are {len(items)}.", "TOO_MANY_FILES")
    return items


def file_items(files: Sequence[Path], about: Describing = Describing()) -> list[Item]:
    """Return files as what can be sent."""
    return [Item(str(path), partial(_send_file, path, about)) for path in files]


async def _send_file(path: Path, about: Describing, rag: RagClient) -> pb.Job:
    if path.is_dir():
        raise PermissionError(errno.EACCES, "the folder cannot be listed")
    return await rag.ingest(
        path, document_id=about.document_id, title=about.title, metadata=about.metadata, password=about.password
    )


async def _send_url(url: str, about: Describing, rag: RagClient) -> pb.Job:
    return await rag.ingest_url(
        url, document_id=about.document_id, title=about.title, metadata=about.metadata, password=about.password
    )


async def _ingest(items: Sequence[Item], address: str, parallel: int, *, detach: bool, as_json: bool) -> int:
    async with connected(address, UPLOAD_TIMEOUT_S) as rag:
        await say_when_away(rag, address)
        return await ingest_all(rag, items, view_of(out, len(items), as_json=as_json), parallel, detach=detach)


async def ingest_all(
    rag: RagClient, items: Sequence[Item], view: Lines, parallel: int = 4, *, detach: bool = False
) -> int:
    """Send items, show how it goes and how it ended; return the exit code."""
    began = time.monotonic()
    ingestion = await follow(rag, items, view, parallel, detach=detach)
    view.summarise(summary(ingestion.outcomes, time.monotonic() - began))
    return 0 if all(outcome.is_good for outcome in ingestion.outcomes) else 1


async def follow(
    rag: RagClient, items: Sequence[Item], view: Lines, parallel: int, *, detach: bool = False
) -> Ingestion:
    """Send items and show how it goes. Whoever breaks it off is told what that means."""
    ingestion = Ingestion(rag, view, parallel=parallel, detach=detach)
    try:
        with view.showing():
            await ingestion.run(items)
    except asyncio.CancelledError:
        accepted, unsent = _counted(ingestion.accepted, "accepted upload"), _counted(ingestion.unsent, "file")
        err.print(f"Stopped looking. On the server, and going on without you: {accepted}. Not sent: {unsent}.")
        err.print("`ragmesh jobs` shows how they do, `ragmesh cancel ID` ends one.")
        raise
    return ingestion


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def view_of(console: Console, total: int, *, as_json: bool = False, quiet: bool = False) -> Lines:
    """Return the view that fits where the output goes; a quiet one is silent about what did not change."""
    if as_json:
        return JsonLines(console, quiet=quiet)
    return Bars(console, total, quiet=quiet) if console.is_terminal else Lines(console, quiet=quiet)
