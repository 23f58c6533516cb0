"""`ragmesh jobs`, `cancel` and `retry`: what is being ingested, and what becomes of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from enum import StrEnum
from functools import partial
from typing import Annotated, Any

import typer
from rich.text import Text

from rag.cli.ingest import Password, asked, ingest_all, view_of
from rag.cli.ingesting import Item
from rag.cli.plain import line
from rag.cli.terminal import (
    DEFAULT_ADDRESS,
    Address,
    Json,
    connected,
    err,
    examples,
    out,
    print_json,
    print_table,
    run,
    say_error,
)
from rag.cli.views import age, note_of, state_of
from rag.client import RagClient
from rag.runtime.errors import RagError
from rag.v1 import ingestor_pb2 as pb

app = typer.Typer(invoke_without_command=True)

Ids = Annotated[list[str], typer.Argument(metavar="ID", help="The ids of jobs.")]


class State(StrEnum):
    """A state that jobs can be asked for by."""

    QUEUED = "queued"
    RUNNING = "running"
    READY = "ready"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DEAD = "dead"


@app.callback(epilog=examples("jobs --state dead", "jobs show job_0123", "jobs watch job_0123 job_4567"))
def jobs(
    context: typer.Context,
    *,
    state: Annotated[State | None, typer.Option(help="Only jobs in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    as_json: Json = False,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """List jobs, newest first; `show` and `watch` look at one."""
    if context.invoked_subcommand is None:
        run(_list(state, limit, address, as_json=as_json))


@app.command()
def show(
    job_id: Annotated[str, typer.Argument(metavar="ID")], as_json: Json = False, address: Address = DEFAULT_ADDRESS
) -> None:
    """Show all about one job."""
    run(_show(job_id, address, as_json=as_json))


@app.command()
def watch(ids: Ids, as_json: Json = False, address: Address = DEFAULT_ADDRESS) -> None:
    """Watch jobs until they are finished; exit code 0 when all are searchable."""
    run(_watch(ids, address, as_json=as_json))


def cancel(ids: Ids, as_json: Json = False, address: Address = DEFAULT_ADDRESS) -> None:
    """End jobs that are not finished. Nothing of them is or will be searchable."""
    run(_each(ids, lambda rag, job_id: rag.cancel(job_id), address, as_json=as_json))


def retry(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID", help="The ids of jobs.")] = None,
    *,
    dead: Annotated[bool, typer.Option("--dead", help="All jobs in the state dead.")] = False,
    password: Password = "",
    as_json: Json = False,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Put jobs that failed or are dead back in the queue."""
    if bool(ids) == dead:
        raise typer.BadParameter("Name jobs, or say --dead for all dead ones.")
    run(_retry(ids or [], asked(password), address, dead=dead, as_json=as_json))


async def _list(state: State | None, limit: int, address: str, *, as_json: bool) -> int:
    wanted = pb.JobState.Value(f"JOB_STATE_{state.name}") if state else pb.JOB_STATE_UNSPECIFIED
    found: list[pb.Job] = []
    async with connected(address) as rag, aclosing(rag.jobs(wanted)) as listed:
        async for job in listed:
            found.append(job)
            if len(found) == limit:
                break
    _print(found, as_json=as_json)
    if not found and not as_json:
        err.print("There are no such jobs." if state else "There are no jobs.")
    return 0


def _print(found: list[pb.Job], *, as_json: bool) -> None:
    if as_json:
        for job in found:
            print_json(_as_json(job))
    elif found:
        rows = [[job.id, state_of(job), age(job.created_at), job.name, _note(job)] for job in found]
        print_table(["job", "state", "age", "file", ""], rows, may_shrink=["file", ""])


async def _show(job_id: str, address: str, *, as_json: bool) -> int:
    async with connected(address) as rag:
        job = await rag.job(job_id)
    told = _as_json(job)
    if as_json:
        print_json(told)
    else:
        for key, value in told.items():
            if value != "":
                out.print(Text(f"{key:<18} {line(str(value))}"), soft_wrap=True)
    return 0


async def _watch(ids: list[str], address: str, *, as_json: bool) -> int:
    async with connected(address) as rag:
        found = [await rag.job(job_id) for job_id in dict.fromkeys(ids)]
        items = [Item(job.name, partial(_found, job)) for job in found]
        return await ingest_all(rag, items, view_of(out, len(items), as_json=as_json))


async def _found(job: pb.Job, _rag: RagClient) -> pb.Job:
    return job


async def _retry(ids: list[str], password: str, address: str, *, dead: bool, as_json: bool) -> int:
    if dead:
        async with connected(address) as rag, aclosing(rag.jobs(pb.JOB_STATE_DEAD)) as listed:
            ids = [job.id async for job in listed]
        if not ids:
            err.print("No job is dead.")
    return await _each(ids, lambda rag, job_id: rag.retry(job_id, password), address, as_json=as_json)


async def _each(
    ids: list[str], act: Callable[[RagClient, str], Awaitable[pb.Job]], address: str, *, as_json: bool
) -> int:
    done: list[pb.Job] = []
    async with connected(address) as rag:
        for job_id in ids:
            try:
                done.append(await act(rag, job_id))
            except RagError as error:
                say_error(error, job_id)
    _print(done, as_json=as_json)
    return 0 if len(done) == len(ids) else 1


def _note(job: pb.Job) -> str:
    if job.error.reason:
        return f"{job.error.reason}: {job.error.message}"
    return f"{job.progress.passages_indexed} passages" if _is_finished(job) else note_of(job)


def _is_finished(job: pb.Job) -> bool:
    return job.state not in {pb.JOB_STATE_QUEUED, pb.JOB_STATE_RUNNING}


def _as_json(job: pb.Job) -> dict[str, Any]:
    done = job.progress
    return {
        "job_id": job.id,
        "document_id": job.document_id,
        "file": job.name,
        "state": state_of(job),
        "reason": job.error.reason,
        "message": job.error.message,
        "pages": done.pages_done,
        "pages_total": done.pages_total,
        "pages_skipped": done.pages_skipped,
        "passages": done.passages_indexed,
        "vectors_cached": done.vectors_cached,
        "vectors_computed": done.vectors_computed,
        "rate_limit_waits": done.rate_limit_waits,
        "rate_limit_wait_s": round(done.rate_limit_wait_s, 1),
        "seconds_left": round(done.seconds_left, 1) if not _is_finished(job) and done.HasField("seconds_left") else "",
        "attempts": job.attempts,
        "version": job.document_version,
        "size_bytes": job.size_bytes,
        "created_at": job.created_at.ToJsonString(),
        "updated_at": job.updated_at.ToJsonString(),
        "finished_at": job.finished_at.ToJsonString() if job.HasField("finished_at") else "",
    }
