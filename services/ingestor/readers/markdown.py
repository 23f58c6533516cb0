"""Reads Markdown: the text is kept as it is, the first heading is the title."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from services.ingestor.pages import Opening, Page
from services.ingestor.readers.parts import parts
from services.ingestor.readers.text import decoded

_TITLE = re.compile(r"^# +(\S[^\n]{0,500}?)[ #]*$|^(\S[^\n]{0,500})\n=+ *$", re.MULTILINE)


def read(path: Path) -> Iterator[Opening | Page]:
    """Yield the title, then the text as one document without pages.

    Raises:
        InvalidInput: BAD_ENCODING.
    """
    pieces = decoded(path)
    first = next(pieces, "")
    found = _TITLE.search(first)
    yield Opening(title=(found[1] or found[2]).strip() if found else "")
    yield from parts(0, chain([first], pieces))
