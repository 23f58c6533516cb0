"""Reads HTML: the main text as Markdown with its headings, without menus and footers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import trafilatura

from rag.runtime.errors import InvalidInput
from services.ingestor.pages import Opening, Page
from services.ingestor.readers import markup
from services.ingestor.readers.about import facts, line
from services.ingestor.readers.faults import named
from services.ingestor.readers.parts import clean, parts
from services.ingestor.readers.text import decoded

_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*\?>")
_DAMAGED = "The HTML is damaged and cannot be read."
_AROUND = frozenset({"nav", "header", "footer", "aside"})
_SHORT_CHARS = 250
_MARKS = " | ".join(
    ["//article", "//main", "//*[@role='main']"]
    + [
        f"//*[contains(@{key}, '{word}')]"
        for key in ("id", "class")
        for word in ("content", "article", "post", "entry")
    ]
)
_METAS: dict[str, tuple[str, ...]] = {
    "author": ("author", "article:author", "dc.creator", "citation_author"),
    "description": ("description", "og:description", "dc.description"),
    "published": ("article:published_time", "date", "dc.date", "citation_publication_date"),
    "modified": ("article:modified_time", "last-modified"),
    "site": ("og:site_name", "application-name"),
    "keywords": ("keywords",),
    "url": ("og:url",),
}


def read(path: Path) -> Iterator[Opening | Page]:
    """Yield the title, then the main text as one document without pages.

    Raises:
        InvalidInput: BAD_ENCODING, HTML_DAMAGED.
    """
    # A parser refuses text whose declaration names an encoding: it is decoded already.
    source = _DECLARATION.sub("", "".join(decoded(path)))
    with named("HTML_DAMAGED", _DAMAGED):
        tree = _tree(source)
        yield Opening(title=line(tree.findtext(".//title")) or _first_heading(tree), metadata=_facts(tree))
        yield from parts(0, [clean(_main_text(tree))])


def _main_text(tree: Any) -> str:
    """The text without menus, footers and the like; of a short page, all but what is marked as such."""
    whole = markup.markdown(tree, without=_AROUND)
    found = trafilatura.extract(
        _marked(markup.unframed(tree)),
        output_format="markdown",
        include_formatting=True,
        include_tables=True,
        include_comments=False,
    )
    # Below this length trafilatura gives up on structure.
    return markup.tidy(found) if found and len(found) >= _SHORT_CHARS else whole or markup.markdown(tree)


def _marked(tree: Any) -> Any:
    """The tree with its body as an article when nothing in it is marked as the main text.

    Without a mark, trafilatura keeps paragraphs and loses lists and tables.
    """
    body = tree.find(".//body")
    if body is not None and not tree.xpath(_MARKS):
        article = body.makeelement("article")
        article.text, body.text = body.text, None
        article.extend(list(body))
        body.append(article)
    return tree


def whole_text(source: str) -> str:
    """All of the text, for HTML without menus, such as a mail's."""
    return markup.markdown(_tree(_DECLARATION.sub("", source)))


def _tree(source: str) -> Any:
    tree = trafilatura.load_html(source)
    if tree is None:
        raise InvalidInput(_DAMAGED, "HTML_DAMAGED")
    return tree


def _first_heading(tree: Any) -> str:
    heading = next(tree.iter("h1"), None)
    return line(heading.text_content()) if heading is not None else ""


def _facts(tree: Any) -> dict[str, str]:
    metas: dict[str, str] = {}
    for meta in tree.iter("meta"):
        name = (meta.get("name") or meta.get("property") or "").lower()
        metas.setdefault(name, meta.get("content") or "")
    found = {fact: next((metas[name] for name in names if metas.get(name)), None) for fact, names in _METAS.items()}
    canonical = (link.get("href") for link in tree.iter("link") if (link.get("rel") or "").lower() == "canonical")
    found["url"] = next(canonical, None) or found["url"]
    return facts(**found, language=tree.get("lang") or tree.get("{http://www.w3.org/XML/1998/namespace}lang"))
