"""`ragmesh index export` and `import`: an index in files, to move it from one store to another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from rag.cli.operating import OwnRetriever, Retriever, open_retriever, readable
from rag.cli.plain import line
from rag.cli.terminal import Json, err, out, print_json, run
from rag.ids import check_id
from rag.runtime.errors import NotFound
from rag.transfer.exporting import Report, export_tenant
from rag.transfer.importing import check_target, exports_in, import_tenant
from rag.transfer.shards import Manifest

Folder = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="The folder of the export; one folder in it for each tenant.")
]
Tenants = Annotated[
    list[str] | None, typer.Option("--tenant", metavar="TENANT", help="Only this tenant; may be repeated.")
]


def export(
    folder: Folder,
    *,
    tenant: Tenants = None,
    all_tenants: Annotated[bool, typer.Option("--all-tenants", help="All tenants that have documents.")] = False,
    retriever: Retriever = "",
    as_json: Json = False,
) -> None:
    """Write the documents of an index to files, with passages and vectors, whatever store it is in.

    Searches and writes go on. Run it again after a break: it goes on behind
    the last whole document. What changes meanwhile is exported as it was
    when its turn came; for the state of one moment, stop the writers.

    Exit code 0 when the export is complete, 1 when not.
    """
    if bool(tenant) == all_tenants:
        raise typer.BadParameter("Name tenants with --tenant, or say --all-tenants.")
    run(_export(folder, tenant or [], retriever, as_json=as_json))


def import_(
    folder: Folder,
    *,
    tenant: Tenants = None,
    parallel: Annotated[int, typer.Option(min=1, max=32, help="Documents sent at once.")] = 4,
    retriever: Retriever = "",
    as_json: Json = False,
) -> None:
    """Bring the documents of an export into an index of the same model.

    Every file is checked before anything is sent. Documents that are there
    already are left out, so run it again after a break. A document that is
    newer in the index, or was deleted there since, stays as it is.

    Exit code 0 when all documents of the export are through, 1 when not.
    """
    run(_import(folder, tenant or [], parallel, retriever, as_json=as_json))


async def _export(folder: Path, tenants: list[str], address: str, *, as_json: bool) -> int:
    for name in tenants:
        check_id(name, "--tenant")
    async with open_retriever(address) as retriever:
        names = tenants or await retriever.tenants()
        if not names:
            raise NotFound("No tenant has documents.", "NO_TENANTS")
        with _progress(as_json=as_json) as report, readable(folder):
            for name in names:
                done = await export_tenant(retriever, name, folder / name, report)
                _tell(name, {"documents": done.documents, "passages": done.passages}, "exported", as_json=as_json)
    return 0


async def _import(folder: Path, tenants: list[str], parallel: int, address: str, *, as_json: bool) -> int:
    for name in tenants:
        check_id(name, "--tenant")
    with _progress(as_json=as_json) as report, readable(folder):
        exports = await asyncio.to_thread(exports_in, folder, tenants)
        async with open_retriever(address) as retriever:
            await _check_targets(retriever, exports)
            for name, manifest in exports.items():
                counts = await import_tenant(retriever, folder / name, manifest, report, parallel=parallel)
                told = {
                    "documents": counts.imported,
                    "passages": counts.passages,
                    "there_already": counts.there_already,
                    "newer_there": counts.newer_there,
                }
                _tell(name, told, "imported", as_json=as_json)
    return 0


async def _check_targets(retriever: OwnRetriever, exports: Mapping[str, Manifest]) -> None:
    for source, name in {manifest.source: name for name, manifest in exports.items()}.items():
        await check_target(retriever, name, source)


def _tell(tenant: str, counts: dict[str, int], what: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"tenant": tenant, "state": what, **counts})
        return
    parts = [f"{counts['documents']:,} documents", f"{counts['passages']:,} passages"]
    rest = ("there_already", "newer_there")
    parts += [f"{counts[key]:,} {key.replace('_', ' ')}" for key in rest if counts.get(key)]
    out.print(f"{what} {line(tenant)}: {', '.join(parts)}", soft_wrap=True)


@contextmanager
def _progress(*, as_json: bool) -> Iterator[Report]:
    """Show a bar for each tenant in a terminal, on stderr; elsewhere only the result is told."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(20),
        MofNCompleteColumn(),
        TextColumn("documents, {task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    rows: dict[str, TaskID] = {}
    with Progress(*columns, console=err, transient=True, disable=as_json or not err.is_terminal) as bars:

        def report(tenant: str, done: int, total: int, passages: int) -> None:
            if tenant not in rows:
                rows[tenant] = bars.add_task(line(tenant), total=total, completed=done, rate="")
            task = bars.tasks[bars.task_ids.index(rows[tenant])]
            elapsed = task.elapsed or 0.0
            rate = f"{passages:,} passages, {passages / elapsed:,.0f}/s" if elapsed > 1 else f"{passages:,} passages"
            bars.update(rows[tenant], completed=done, total=total, rate=rate)

        yield report
