"""What all words of the command share: the two consoles, the gateway and the key, tables, and how a run ends."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rag.cli.plain import GAP, aligned, line, widest
from rag.runtime.errors import DeadlineExceeded, PermissionDenied, RagError, Unauthenticated, Unavailable

if TYPE_CHECKING:
    from rag.client import RagClient

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

DEFAULT_ADDRESS = "127.0.0.1:50050"
ANSWER_TIMEOUT_S = 120.0
UPLOAD_TIMEOUT_S = 600.0
FAILED, AWAY, NOT_ALLOWED, INTERRUPTED = 1, 3, 4, 130
"""Exit codes; 2 is a wrong command line."""

Address = Annotated[
    str,
    typer.Option(
        envvar=["RAGMESH_ADDRESS", "GATEWAY_ADDRESS"],
        help="The gateway's gRPC address; https:// before it for TLS.",
        metavar="HOST:PORT",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One line of JSON for each row, for programs.")]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a gateway is told, and how it is believed."""

    key: str = ""
    authority_file: Path | None = None


_NOBODY = Credentials()
_credentials: ContextVar[Credentials] = ContextVar("ragmesh_credentials", default=_NOBODY)


def use_key(context: typer.Context, key: str) -> None:
    """Remember the key of this run; `-` asks for it, or reads it from a pipe."""
    if key == "-" and not context.resilient_parsing:
        key = typer.prompt("Key", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline().strip()
    _credentials.set(replace(_credentials.get(), key=key))


def use_authorities(file: Path | None) -> None:
    """Remember whose certificates are believed."""
    _credentials.set(replace(_credentials.get(), authority_file=file))


def connected(address: str, timeout_s: float = ANSWER_TIMEOUT_S) -> RagClient:
    """Return the client of this run, to be opened with `async with`."""
    from rag.client import RagClient  # the greater part of the start of a command

    known = _credentials.get()
    return RagClient(address, known.key, timeout_s=timeout_s, authority_file=known.authority_file)


def run(work: Awaitable[int]) -> None:
    """Run a command to its exit code; errors are one readable sentence on stderr."""

    async def awaited() -> int:
        return await work

    try:
        raise typer.Exit(asyncio.run(awaited()))
    except RagError as error:
        say_error(error)
        raise typer.Exit(exit_code(error)) from error
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def exit_code(error: RagError) -> int:
    """Return the exit code of a command that an error ended."""
    if isinstance(error, Unavailable | DeadlineExceeded):
        return AWAY
    return NOT_ALLOWED if isinstance(error, Unauthenticated | PermissionDenied) else FAILED


def say_error(error: RagError, about: str = "") -> None:
    """Print an error on stderr, with what it is about and what can be done."""
    text = Text.assemble((error.reason, "red"), f"  {line(about)}: " if about else "  ", line(error.message))
    err.print(text, soft_wrap=True)
    if error.reason == "GATEWAY_UNAVAILABLE":
        hint = "Is ragmesh running? `ragmesh up` starts it; --address says where it is; `ragmesh doctor` looks closer."
        err.print(hint, soft_wrap=True)
    elif isinstance(error, Unauthenticated):
        err.print(
            "RAGMESH_KEY or --key says who you are; `ragmesh keys create` makes a key where ragmesh runs.",
            soft_wrap=True,
        )


async def say_when_away(rag: RagClient, address: str) -> None:
    """Tell people why nothing happens for the next seconds, when that is so."""
    if not await rag.is_serving():
        err.print(f"Not all services behind {line(address)} are serving; trying for a few seconds.")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], may_shrink: Sequence[str] = ()) -> None:
    """Print rows under their columns: whole in a pipe; in a terminal, some columns shrink until the rows fit."""
    cells = [[line(cell) for cell in row] for row in rows]
    if not out.is_terminal:
        for whole in aligned([columns, *cells]):
            out.print(Text(whole), soft_wrap=True)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, width in zip(columns, _widths(columns, cells, may_shrink), strict=True):
        table.add_column(name, no_wrap=True, width=width)
    for row in cells:
        table.add_row(*(Text(cell, overflow="ellipsis") for cell in row))
    out.print(table)


def _widths(columns: Sequence[str], cells: Sequence[Sequence[str]], may_shrink: Sequence[str]) -> list[int]:
    """Share what the other columns leave among those that may shrink: the narrow ones take what they need."""
    needed = widest([columns, *cells])
    widths = list(needed)
    shrinking = sorted((n for n, name in enumerate(columns) if name in may_shrink), key=lambda n: needed[n])
    left = out.width - GAP * (len(columns) - 1) - sum(width for n, width in enumerate(widths) if n not in shrinking)
    for done, number in enumerate(shrinking):
        widths[number] = max(1, min(needed[number], left // (len(shrinking) - done)))
        left -= widths[number]
    return widths


def print_json(row: Mapping[str, Any]) -> None:
    """Print a row as one line of JSON. It is ASCII, so nothing in it can be obeyed by a terminal."""
    out.print(Text(json.dumps(row)), soft_wrap=True)


def examples(*commands: str) -> str:
    """Return the end of a command's help, a line for each example."""
    return "\n\n".join(["Examples:", *(f"    ragmesh {command}" for command in commands)])
