"""KEY=VALUE, as metadata is written on a command line."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rag.metadata import Scalar, check_key, check_scalar
from rag.runtime.errors import InvalidInput


def metadata_of(pairs: Sequence[str]) -> dict[str, Scalar]:
    """Return KEY=VALUE pairs as metadata: `5` is a number, `true` a truth value, `"5"` and all else a text.

    Raises:
        InvalidInput: BAD_METADATA.
    """
    found: dict[str, Scalar] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise InvalidInput(f"{pair} is not KEY=VALUE.", "BAD_METADATA")
        found[check_key(key)] = check_scalar(key, _scalar(value))
    return found


def _scalar(value: str) -> Scalar:
    try:
        read = json.loads(value, parse_constant=str)
    except ValueError:
        return value
    if isinstance(read, int | float) and not isinstance(read, bool):
        return float(read)
    return read if isinstance(read, bool | str) else value
