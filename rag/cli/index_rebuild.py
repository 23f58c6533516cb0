"""`ragmesh index show`, `rebuild`, `rollback`, `cancel`: the index that serves, and how another one takes its place."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from rag.cli.operating import Retriever, open_retriever
from rag.cli.terminal import Json, err, out, print_json, print_table, run
from rag.cli.views import duration
from rag.runtime.errors import DeadlineExceeded, InvalidInput, Unavailable
from rag.v1 import retriever_pb2 as pb

Tenant = Annotated[str, typer.Option(help="Whose documents are counted, and whose the labelled queries are.")]
_STAGES = {
    pb.REBUILD_STAGE_UNSPECIFIED: "waiting",
    pb.REBUILD_STAGE_COPYING: "copying",
    pb.REBUILD_STAGE_COMPARING: "comparing",
    pb.REBUILD_STAGE_SWITCHING: "switching",
}


def show(tenant: Tenant = "default", as_json: Json = False, retriever: Retriever = "") -> None:
    """Show which index serves, which is being built, which are kept to go back to."""
    run(_show(tenant, retriever, as_json=as_json))


def rebuild(
    *,
    analyzer: Annotated[
        str,
        typer.Option(help="How texts become words: multilingual or plain; as the retriever's settings say by default."),
    ] = "",
    resplit: Annotated[bool, typer.Option("--resplit", help="Cut the stored text anew.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Build and compare, but do not switch.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Build even when it would be like the live one.")] = False,
    labelled: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help='Queries, a line each: {"query": "...", "document_ids": ["..."]}.'
        ),
    ] = None,
    min_overlap: Annotated[
        float, typer.Option(min=0, max=1, help="The least share of the five best hits that must stay the same.")
    ] = 0.3,
    max_precision_loss: Annotated[
        float, typer.Option(min=0, max=1, help="How much precision@5 on the labelled queries may fall.")
    ] = 0.02,
    tenant: Tenant = "default",
    as_json: Json = False,
    retriever: Retriever = "",
) -> None:
    """Build an index anew beside the live one, compare the two, and switch. Exit code 1 when the switch was refused."""
    request = pb.RebuildIndexRequest(
        action=pb.REBUILD_ACTION_BUILD,
        analyzer=analyzer,
        resplit=resplit,
        dry_run=dry_run,
        force=force,
        min_overlap=min_overlap,
        max_precision_loss=max_precision_loss,
    )
    run(_rebuild(request, labelled, tenant, retriever, as_json=as_json))


def rollback(tenant: Tenant = "default", as_json: Json = False, retriever: Retriever = "") -> None:
    """Bring the index that was live before up to date, and switch back to it."""
    request = pb.RebuildIndexRequest(action=pb.REBUILD_ACTION_ROLL_BACK)
    run(_rebuild(request, None, tenant, retriever, as_json=as_json))


def cancel(as_json: Json = False, retriever: Retriever = "") -> None:
    """Give up the index that is being built."""
    run(_cancel(retriever, as_json=as_json))


async def _show(tenant: str, address: str, *, as_json: bool) -> int:
    async with open_retriever(address) as retriever:
        found = await retriever.describe(tenant)
    if as_json:
        print_json(_plain(found))
        return 0
    rows = [_row("live", found.live)] if found.HasField("live") else []
    rows += [_row(_how_far(found.progress), found.building)] if found.HasField("building") else []
    rows += [_row(f"kept {_until(kept)}", kept) for kept in found.retired]
    if rows:
        print_table(["state", "model", "analyzer", "rows", "collection"], rows, may_shrink=["collection"])
    out.print(f"{found.documents} documents with {found.passages} passages are {tenant}'s.", soft_wrap=True)
    if found.HasField("problem"):
        err.print(f"{found.problem.code}  {found.problem.message}", soft_wrap=True, markup=False)
    return 0


def _row(state: str, version: pb.IndexVersion) -> list[str]:
    model = f"{version.model}@{version.revision[:12]} ({version.dimension})"
    return [state, model, version.analyzer, str(version.rows), version.collection]


def _until(kept: pb.IndexVersion) -> str:
    return f"for {duration(max(kept.drop_at.ToSeconds() - time.time(), 0))}"


def _how_far(progress: pb.RebuildProgress) -> str:
    share = progress.passages_done / progress.passages_total if progress.passages_total else 0
    return f"{_STAGES[progress.stage]} {share:.0%}"


async def _rebuild(
    request: pb.RebuildIndexRequest, labelled: Path | None, tenant: str, address: str, *, as_json: bool
) -> int:
    request.queries.extend(_queries(labelled) if labelled else [])
    async with open_retriever(address) as retriever, aclosing(retriever.rebuild(tenant, request)) as events:
        try:
            result = await _followed(events, as_json=as_json)
        except (DeadlineExceeded, Unavailable):
            err.print("Nothing more is heard of it. A rebuild that has begun goes on: `ragmesh index show` tells.")
            raise
    if as_json:
        return 0 if _is_good(result) else 1
    console = out if _is_good(result) else err
    console.print(
        result.message if _is_good(result) else f"{result.reason}  {result.message}", soft_wrap=True, markup=False
    )
    return 0 if _is_good(result) else 1


def _is_good(result: pb.RebuildResult) -> bool:
    return result.switched or result.reason in {"NOT_NEEDED", "DRY_RUN"}


async def _followed(events: AsyncGenerator[pb.RebuildIndexResponse, None], *, as_json: bool) -> pb.RebuildResult:
    """Show the events as they come; return the result."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeElapsedColumn())
    with Progress(*columns, console=err, disable=as_json or not err.is_terminal) as bars:
        bar = bars.add_task("waiting", total=None, note="")
        async for event in events:
            if as_json:
                print_json(_plain(event))
            if event.HasField("result"):
                return event.result
            if event.HasField("progress"):
                done = event.progress
                bars.update(
                    bar,
                    description=_STAGES[done.stage],
                    total=done.passages_total or None,
                    completed=done.passages_done,
                    note=_note(done),
                )
    raise Unavailable("The retriever did not finish.", "RETRIEVER_UNAVAILABLE")


def _note(done: pb.RebuildProgress) -> str:
    note = f"{done.passages_done}/{done.passages_total} passages"
    return f"{note}, {duration(done.seconds_left)} left" if done.HasField("seconds_left") else note


async def _cancel(address: str, *, as_json: bool) -> int:
    request = pb.RebuildIndexRequest(action=pb.REBUILD_ACTION_CANCEL)
    async with open_retriever(address) as retriever, aclosing(retriever.rebuild("operator", request)) as events:
        result = await _followed(events, as_json=as_json)
    if not as_json:
        out.print(result.message, soft_wrap=True, markup=False)
    return 0


def _queries(path: Path) -> list[pb.LabelledQuery]:
    """Return the queries of a file.

    Raises:
        InvalidInput: BAD_LABELLED, naming the line.
    """
    found = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not text.strip():
            continue
        try:
            item = json.loads(text)
            found.append(pb.LabelledQuery(query=item["query"], document_ids=item["document_ids"]))
        except (ValueError, KeyError, TypeError) as error:
            message = f'Line {number} of the labelled queries is not {{"query": "...", "document_ids": ["..."]}}.'
            raise InvalidInput(message, "BAD_LABELLED") from error
    return found


def _plain(message: Any) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True)
