"""The texts that tell a model what to do: files that a user can replace."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

from rag.runtime.errors import FailedPrecondition

CODE_VERSION = "prompt_v2"
"""Grows when what the code writes around the templates changes."""

PLACEHOLDERS = {"answer.txt": frozenset({"boundary"}), "standalone.txt": frozenset({"boundary"})}
"""Each template, and the placeholders that stand in it: all of them, and no others."""

_MOST_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Templates:
    """The templates in use."""

    answer: Template
    """Tells how to answer from passages."""
    standalone: Template
    """Tells how to rewrite the last question of a conversation."""
    version: str
    """Changes with every text."""


def load(folder: Path | None = None) -> Templates:
    """Read the templates.

    Args:
        folder: Its files replace ours of the same names; those it lacks are ours.

    Raises:
        FailedPrecondition: TEMPLATES_MISSING, TEMPLATE_UNREADABLE or TEMPLATE_WRONG, naming the file and what is wrong.
    """
    theirs = _files(folder) if folder else {}
    texts = {name: _theirs(theirs[name]) if name in theirs else _ours(name) for name in PLACEHOLDERS}
    templates = {name: _checked(name, text) for name, text in texts.items()}
    digest = hashlib.sha256("\0".join(texts.values()).encode()).hexdigest()
    return Templates(templates["answer.txt"], templates["standalone.txt"], f"{CODE_VERSION}-{digest[:16]}")


def _files(folder: Path) -> dict[str, Path]:
    try:
        return {path.name: path for path in folder.iterdir()}
    except OSError as error:
        message = f"GENERATOR_TEMPLATES names {folder}, which is no folder that can be read."
        raise FailedPrecondition(message, "TEMPLATES_MISSING") from error


def _ours(name: str) -> str:
    return (resources.files(__package__) / "templates" / name).read_text(encoding="utf-8")


def _theirs(path: Path) -> str:
    try:
        with path.open("rb") as file:
            read = file.read(_MOST_BYTES + 1)
        text = read.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        message = f"The template {path} cannot be read as UTF-8 text."
        raise FailedPrecondition(message, "TEMPLATE_UNREADABLE", file=path.name) from error
    if len(read) > _MOST_BYTES:
        message = f"The template {path} is larger than {_MOST_BYTES} bytes."
        raise FailedPrecondition(message, "TEMPLATE_UNREADABLE", file=path.name)
    return text


def _checked(name: str, text: str) -> Template:
    template = Template(text)
    if not template.is_valid():
        message = f"The template {name} has a $ that begins no placeholder; a dollar sign is written $$."
        raise FailedPrecondition(message, "TEMPLATE_WRONG", file=name)
    found = set(template.get_identifiers())
    for placeholder in sorted(found - PLACEHOLDERS[name]):
        message = f"The template {name} has ${placeholder}, which nothing fills."
        raise FailedPrecondition(message, "TEMPLATE_WRONG", file=name, placeholder=placeholder)
    for placeholder in sorted(PLACEHOLDERS[name] - found):
        message = f"The template {name} lacks ${placeholder}."
        raise FailedPrecondition(message, "TEMPLATE_WRONG", file=name, placeholder=placeholder)
    return template
