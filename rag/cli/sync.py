"""`ragmesh sync`: what is on the server follows what is in a folder. The server's catalogue is the only memory of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from rag.cli.ingest import Parallel, follow, view_of
from rag.cli.ingesting import FAILED, LEFT_OUT, REMOVED, UNCHANGED, Item, Outcome
from rag.cli.plain import line
from rag.cli.summary import summary
from rag.cli.sync_plan import Plan, Remote, document_id, make_plan
from rag.cli.sync_sides import LABEL, PATH, Local, Server, ask_server, hash_files, hash_of, look_at_folder
from rag.cli.terminal import (
    DEFAULT_ADDRESS,
    UPLOAD_TIMEOUT_S,
    Address,
    Json,
    connected,
    err,
    out,
    print_json,
    run,
    say_when_away,
)
from rag.client import RagClient
from rag.runtime.errors import NotFound, RagError
from rag.v1 import ingestor_pb2 as pb


@dataclass(frozen=True, slots=True)
class Options:
    """How a folder is synced."""

    folder: Path
    label: str
    dry_run: bool
    yes: bool
    max_deletes: int
    allow_empty: bool
    verbose: bool
    as_json: bool
    parallel: int


def sync(
    folder: Annotated[Path, typer.Argument(help="The folder; hidden files and links out of it are left out.")],
    *,
    name: Annotated[
        str, typer.Option(metavar="LABEL", help="The name of this sync on the server; its full path by default.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete however many documents.")] = False,
    max_deletes: Annotated[int, typer.Option(min=0, help="Delete nothing when it would be more than this.")] = 50,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Let an empty or missing folder delete all its documents.")
    ] = False,
    parallel: Parallel = 4,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also say what did not change.")] = False,
    as_json: Json = False,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Make the server follow a folder: new, changed and removed files become ingests, updates and deletes.

    Run it as often as you like, by cron too: what did not change is not
    sent, and nothing is printed when nothing changed. The server is the only
    memory: the same label from elsewhere is the same sync, so two folders
    need two labels.

    A file that cannot be read or ingested keeps its old version. Exit code
    0 when the server follows the folder, 1 when something is left to do.
    """
    label = name or str(folder.resolve())
    options = Options(folder, label, dry_run, yes, max_deletes, allow_empty, verbose, as_json, parallel)
    if not folder.is_dir() and (folder.exists() or not allow_empty):
        raise typer.BadParameter(f"{folder} is not a folder. Nothing was deleted; --allow-empty would.")
    run(_sync(options, address))


async def _sync(options: Options, address: str) -> int:
    async with connected(address, UPLOAD_TIMEOUT_S) as rag:
        await say_when_away(rag, address)
        server = await ask_server(rag, options.label)
        local = await asyncio.to_thread(look_at_folder, options.folder)
        files = await hash_files(options.label, local, server)
        plan = make_plan(options.label, files, server.remote, server.under_way.keys(), local.is_unsure)
        if options.dry_run:
            return _show(plan, local, options)
        return await _apply(rag, plan, local, server, options)


def _show(plan: Plan, local: Local, options: Options) -> int:
    kinds = [("new", plan.new), ("changed", plan.changed), ("under way", plan.under_way)]
    kinds += [(REMOVED, tuple(entry.path for entry in plan.removed)), ("unreadable", tuple(local.unreadable))]
    kinds += [("unchanged", plan.unchanged)] if options.verbose else []
    for kind, path in [(kind, path) for kind, paths in kinds for path in paths]:
        if options.as_json:
            print_json({"file": path, "action": kind})
        else:
            out.print(Text(f"{kind:<10}  {line(path)}"), soft_wrap=True)
    if not options.as_json and (not plan.is_empty or options.verbose or out.is_terminal):
        counts = {**{kind: len(paths) for kind, paths in kinds}, "unchanged": len(plan.unchanged)}
        out.print("would be: " + (", ".join(f"{count} {kind}" for kind, count in counts.items() if count) or "nothing"))
    refused = _why_not_delete(plan, local, options)
    if refused:
        err.print(refused, soft_wrap=True)
    return 1 if refused or local.unreadable else 0


async def _apply(rag: RagClient, plan: Plan, local: Local, server: Server, options: Options) -> int:
    began = time.monotonic()
    items = _items(plan, local, server, options.label)
    view = view_of(out, len(items), as_json=options.as_json, quiet=not options.verbose)
    outcomes = [
        Outcome(Item(path, _nothing), FAILED, reason="UNREADABLE", message=why)
        for path, why in local.unreadable.items()
    ]
    if options.verbose:
        outcomes += [Outcome(Item(path, _nothing), UNCHANGED) for path in plan.unchanged]
        outcomes += [Outcome(Item(path, _nothing), LEFT_OUT) for path in (*sorted(local.empty), *local.outside)]
    for outcome in outcomes:
        view.ended(outcome)
    outcomes += (await follow(rag, items, view, options.parallel)).outcomes if items else []
    refused = _why_not_delete(plan, local, options)
    for entry in () if refused else plan.removed:
        outcomes.append(await _delete(rag, entry))
        view.ended(outcomes[-1])
    if refused:
        err.print(refused, soft_wrap=True)
    if outcomes or options.verbose or out.is_terminal:
        before = [f"{len(plan.unchanged)} unchanged"] if plan.unchanged and not options.verbose else []
        view.summarise(summary(outcomes, time.monotonic() - began, before))
    return 0 if not refused and all(outcome.is_good for outcome in outcomes) else 1


def _why_not_delete(plan: Plan, local: Local, options: Options) -> str:
    count = len(plan.removed)
    if count and not local.files and not options.allow_empty:
        return f"The folder is empty: its {count} documents were not deleted. --allow-empty deletes them."
    if count > options.max_deletes and not options.yes:
        return f"{count} files are gone, more than --max-deletes {options.max_deletes}: nothing was deleted. --yes deletes."
    return ""


def _items(plan: Plan, local: Local, server: Server, label: str) -> list[Item]:
    def send(path: str) -> Callable[[RagClient], Awaitable[pb.Job]]:
        return partial(_send, path, local.files[path], label)

    def compare(path: str) -> Callable[[RagClient], Awaitable[pb.Job]]:
        return partial(_compare, server.under_way[document_id(label, path)], path, local.files[path], label)

    return [
        *(Item(path, send(path), "new") for path in plan.new),
        *(Item(path, send(path), "changed") for path in plan.changed),
        *(Item(path, compare(path), "changed") for path in plan.under_way),
    ]


async def _send(path: str, file: Path, label: str, rag: RagClient) -> pb.Job:
    return await rag.ingest(file, document_id=document_id(label, path), metadata={LABEL: label, PATH: path})


async def _compare(job_id: str, path: str, file: Path, label: str, rag: RagClient) -> pb.Job:
    """Wait for the upload of an earlier sync; send the file when that one made something else of it."""
    try:
        async with aclosing(rag.watch(job_id)) as events:
            async for _ in events:
                pass
        job = await rag.job(job_id)
        document = await rag.document(job.document_id)
    except NotFound:  # it failed, or was deleted meanwhile
        return await _send(path, file, label, rag)
    if document.content_hash == await asyncio.to_thread(hash_of, file):
        return job
    return await _send(path, file, label, rag)


async def _delete(rag: RagClient, entry: Remote) -> Outcome:
    item = Item(entry.path, _nothing)
    try:
        await rag.delete(entry.document_id)
    except NotFound:
        return Outcome(item, REMOVED)  # somebody else was quicker
    except RagError as error:
        return Outcome(item, FAILED, reason=error.reason, message=error.message)
    return Outcome(item, REMOVED)


async def _nothing(_rag: RagClient) -> pb.Job:
    return pb.Job()
