"""The `ragmesh` command: its words, each loaded when it is used, so that the command starts at once."""

from __future__ import annotations

import typer

from rag.cli.loading import Lazy
from rag.cli.terminal import examples

app = typer.Typer(
    cls=Lazy,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    epilog=examples(
        "demo   (everything, once, from nothing to a cited answer)",
        "up",
        "ingest handbook/",
        'ask "How long does a worker keep its lease?"',
    )
    + "\n\nExit codes: 0 good, 1 failed, 2 wrong command line, 3 nothing answers there, 4 not allowed, 130 interrupted.",
)


@app.callback()
def ragmesh() -> None:
    """Give ragmesh documents, ask it questions, and check every citation of its answers."""


def main() -> None:
    """Run the command line."""
    app()
