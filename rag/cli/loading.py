"""Words that are loaded when they are used: to list them, their names and one sentence are enough."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from rag.cli.terminal import examples, use_authorities, use_key
from rag.cli.words import WORDS, Word


class Lazy(TyperGroup):
    """A group whose commands are the words."""

    def __init__(self, **attributes: Any) -> None:
        attributes["commands"] = {
            word.name: TyperCommand(word.name, help=word.help, rich_help_panel=word.panel) for word in WORDS
        }
        super().__init__(**attributes)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """Return the word that was said, loaded."""
        name, found, rest = super().resolve_command(ctx, args)
        word = next((word for word in WORDS if word.name == name), None)
        return name, loaded(word) if word else found, rest


def loaded(word: Word) -> Any:
    """Return the command of a word."""
    module, _, name = word.place.partition(":")
    found = getattr(importlib.import_module(module), name)
    if not isinstance(found, typer.Typer):
        found, function = typer.Typer(add_completion=False, rich_markup_mode="rich"), found
        found.command(word.name, epilog=examples(*word.examples))(function)
    found._add_completion = False  # noqa: SLF001 - the whole command completes, not each of its words
    command = typer.main.get_command(found)
    command.name = word.name
    _with_credentials(command)
    return command


def _with_credentials(command: Any) -> None:
    """Let a command, and all below it, be told a key, when it has an address to send one to."""
    if any(parameter.name == "address" for parameter in command.params):
        command.params += _CREDENTIALS.params
    for below in getattr(command, "commands", {}).values():
        _with_credentials(below)


def _credentials(
    key: Annotated[
        str,
        typer.Option(
            envvar="RAGMESH_KEY",
            show_envvar=True,
            callback=use_key,
            expose_value=False,
            help="Your API key; - asks for it. On the command line, others on this machine can read it.",
        ),
    ] = "",
    ca_file: Annotated[
        Path | None,
        typer.Option(
            envvar="RAGMESH_CA_FILE",
            callback=use_authorities,
            expose_value=False,
            dir_okay=False,
            help="Certificates (PEM) to believe instead of the public authorities'.",
        ),
    ] = None,
) -> None:
    """Only the options matter."""


def _built() -> Any:
    template = typer.Typer(add_completion=False)
    template.command()(_credentials)
    return typer.main.get_command(template)


_CREDENTIALS = _built()
