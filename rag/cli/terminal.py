"""What all words of the command share: the two consoles, the address, tables, and how a run ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rag.cli.show import line
from rag.client import RagClient
from rag.runtime.errors import RagError

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

DEFAULT_ADDRESS = "127.0.0.1:50050"
UPLOAD_TIMEOUT_S = 600.0
_PIPE_WIDTH = 1_000

Address = Annotated[
    str, typer.Option(envvar="GATEWAY_ADDRESS", help="The gateway's gRPC address.", metavar="HOST:PORT")
]
Json = Annotated[bool, typer.Option("--json", help="One line of JSON for each row, for programs.")]


def run(work: Awaitable[int]) -> None:
    """Run a command to its exit code; errors are one readable sentence on stderr."""

    async def awaited() -> int:
        return await work

    try:
        raise typer.Exit(asyncio.run(awaited()))
    except RagError as error:
        say_error(error)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def say_error(error: RagError, about: str = "") -> None:
    """Print an error on stderr, with what it is about."""
    text = Text.assemble((error.reason, "red"), f"  {line(about)}: " if about else "  ", line(error.message))
    err.print(text, soft_wrap=True)
    if error.reason == "GATEWAY_UNAVAILABLE":
        err.print("Is ragmesh running? `ragmesh up` starts it; --address says where it is.")


async def say_when_away(rag: RagClient, address: str) -> None:
    """Tell people why nothing happens for the next seconds, when that is so."""
    if not await rag.is_serving():
        err.print(f"Not all services behind {line(address)} are serving; trying for a few seconds.")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], may_shrink: Sequence[str] = ()) -> None:
    """Print rows under their columns: whole in a pipe; in a terminal, some columns shrink until the rows fit."""
    cells = [[line(cell) for cell in row] for row in rows]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(columns):
        widest = max(cell_len(row[number]) for row in (columns, *cells))
        table.add_column(name, no_wrap=True, min_width=None if name in may_shrink else widest)
    for row in cells:
        table.add_row(*(Text(cell, overflow="ellipsis") for cell in row))
    # A console that writes to a pipe cuts at 80 columns, whatever width is asked of it later.
    (out if out.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)).print(table)


def print_json(row: Mapping[str, Any]) -> None:
    """Print a row as one line of JSON. It is ASCII, so nothing in it can be obeyed by a terminal."""
    out.print(Text(json.dumps(row)), soft_wrap=True)


def examples(*commands: str) -> str:
    """Return the end of a command's help, a line for each example."""
    return "\n\n".join(["Examples:", *(f"    ragmesh {command}" for command in commands)])
