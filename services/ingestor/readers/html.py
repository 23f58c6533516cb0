"""Reads HTML: the main text as Markdown with its headings, without menus and footers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import trafilatura

from rag.runtime.errors import InvalidInput
from services.ingestor.pages import Opening, Page
from services.ingestor.readers.parts import clean, parts
from services.ingestor.readers.text import decoded

_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*\?>")
_SILENT = ("script", "style", "noscript", "template", "head")
_BLANK = re.compile(r"\n\s*\n+")


def read(path: Path) -> Iterator[Opening | Page]:
    """Yield the title, then the main text as one document without pages.

    Raises:
        InvalidInput: BAD_ENCODING, HTML_DAMAGED.
    """
    # A parser refuses text whose declaration names an encoding: it is decoded already.
    source = _DECLARATION.sub("", "".join(decoded(path)))
    tree = _tree(source)
    title = clean(" ".join((tree.findtext(".//title") or "").split()))
    text = trafilatura.extract(
        source, output_format="markdown", include_formatting=True, include_tables=True, include_comments=False
    )
    yield Opening(title=title)
    yield from parts(0, [clean(text or _plain(tree))])


def _tree(source: str) -> Any:
    tree = trafilatura.load_html(source)
    if tree is None:
        raise InvalidInput("The HTML is damaged and cannot be read.", "HTML_DAMAGED")
    return tree


def _plain(tree: Any) -> str:
    for element in list(tree.iter(*_SILENT)):
        element.drop_tree()
    lines = (line.strip() for line in tree.text_content().split("\n"))
    return _BLANK.sub("\n\n", "\n".join(lines)).strip()
