"""Write .env.example from the settings of all services, or check that it is what would be written."""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from rag.runtime.settings import SharedSettings, variables
from services.tree import SERVICES, TreeSettings, settings_of

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / ".env.example"


def main() -> None:
    """Write the file, or compare it and exit 1 on a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the file is stale")
    check = parser.parse_args().check
    text = render()
    if not check:
        TARGET.write_text(text)
    elif not TARGET.exists() or TARGET.read_text() != text:
        sys.exit(".env.example is stale; run `make env-example`")


def render() -> str:
    """Return the file: the variables that several read first, then each service's own."""
    seen: set[str] = set()
    parts = [
        "# All settings with their defaults. Copy to .env and change what you need.\n",
        section("all", TreeSettings, seen),
    ]
    parts.extend(section(name, settings_of(name), seen) for name in SERVICES)
    return "\n".join(parts)


def section(title: str, kind: type[SharedSettings], seen: set[str]) -> str:
    """Return the variables of one kind of settings that no earlier section had."""
    lines = [f"# --- {title} ---\n"]
    for name, variable in variables(kind).items():
        if variable not in seen:
            seen.add(variable)
            lines.append(entry(variable, kind.model_fields[name]))
    return "\n".join(lines)


def entry(variable: str, field: FieldInfo) -> str:
    """Return one variable with its sentence and its default."""
    default = field.get_default(call_default_factory=False)
    value = default.get_secret_value() if isinstance(default, SecretStr) else default
    shown = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return (
        textwrap.fill(field.description or "", 118, initial_indent="# ", subsequent_indent="# ")
        + f"\n# {variable}={shown}\n"
    )


if __name__ == "__main__":
    main()
