"""Which kind of text a text is."""

from __future__ import annotations

import json
import re

from services.ingestor.delimiters import columns_of, is_table
from services.ingestor.media_types import CSV, EML, HTML, JSON, JSON_LINES, MARKDOWN, TEXT, TSV, XML

_MARKDOWN_NAMES = {".md", ".markdown", ".mdown"}
_HTML_NAMES = {".html", ".htm", ".xhtml"}
_TABLE_NAMES = {".csv", ".tsv", ".tab"}
_LINES_NAMES = {".jsonl", ".ndjson"}
_PLAIN_NAMES = {
    ".adoc", ".bat", ".c", ".cc", ".cfg", ".conf", ".cpp", ".cs", ".css", ".go", ".h", ".hpp", ".ini", ".java", ".js", ".kt",
    ".log", ".lua", ".m", ".org", ".php", ".pl", ".proto", ".ps1", ".py", ".r", ".rb", ".rs", ".rst", ".scala", ".sh", ".sql",
    ".srt", ".swift", ".tex", ".text", ".toml", ".ts", ".tsx", ".vtt", ".yaml", ".yml",
}  # fmt: skip
TEXT_NAMES = (
    _MARKDOWN_NAMES | _HTML_NAMES | _TABLE_NAMES | _LINES_NAMES | _PLAIN_NAMES | {".txt", ".json", ".xml", ".eml"}
)
"""How the names of texts end."""

_HTML = re.compile(
    r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body|title)\b", re.IGNORECASE | re.DOTALL
)
_XML = re.compile(r"\s*<\?xml\s")
_ELEMENT = re.compile(r"\s*<[A-Za-z_!]")
_MARKDOWN = re.compile(r"^(?:#{1,6} \S|```|\[[^\]\n]+\]: \S|.*\[[^\]\n]+\]\([^)\s]+\))", re.MULTILINE)
_JSON_START = re.compile(r"\s*(?:\{\s*[\"}]|\[\s*[\"{\[\]\dtfn-])")
# Possessive quantifiers: each character is looked at once.
_JSON_TOKENS = re.compile(
    r'(?:[\s\[\]{},:]|"(?:[^"\\\x00-\x1f]|\\.)*+"|-?\d++(?:\.\d++)?+(?:[eE][+-]?\d++)?+|true|false|null)*+'
)
_CUT_TOKEN = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*+\\?|[-+.\deEtrufalsn]{1,400}')
_HEADER = re.compile(r"([A-Za-z][A-Za-z0-9-]{0,60}):(?: .*|\t.*|)")
_MAIL_HEADERS = {
    "from", "to", "cc", "bcc", "subject", "date", "message-id", "mime-version", "received", "return-path", "reply-to",
    "delivered-to", "content-type", "in-reply-to", "sender", "references", "content-transfer-encoding",
}  # fmt: skip
_TRANSPORT_HEADERS = {"received", "return-path", "delivered-to", "message-id"}
"""Only mail servers write them."""
_FEWEST_MAIL_HEADERS = 3


def text_type(text: str, suffix: str, *, is_whole: bool) -> str:
    """The media type of a file that begins with this text; `is_whole` says that it is all of it."""
    if _HTML.match(text) or (suffix in _HTML_NAMES and text.lstrip().startswith("<")):
        return HTML
    if _XML.match(text) or (suffix == ".xml" and _ELEMENT.match(text)):
        return XML
    json_type = _json_type(text, suffix, is_whole)
    if json_type:
        return json_type
    if _is_mail(text, is_whole):
        return EML
    return _loose_type(text, suffix, is_whole)


def _loose_type(text: str, suffix: str, is_whole: bool) -> str:  # noqa: FBT001
    """The kinds of text that have no firm mark: here a name counts."""
    if suffix in _PLAIN_NAMES:
        return TEXT
    if suffix in _MARKDOWN_NAMES:
        return MARKDOWN
    if suffix in _TABLE_NAMES or is_table(text, is_whole=is_whole):
        columns = columns_of(text, is_whole=is_whole)
        return TSV if columns and columns.delimiter == "\t" else CSV
    return MARKDOWN if suffix != ".txt" and len(_MARKDOWN.findall(text)) >= 2 else TEXT


def _json_type(text: str, suffix: str, is_whole: bool) -> str:  # noqa: FBT001
    if not _JSON_START.match(text):
        return ""
    if suffix in _LINES_NAMES or _is_lines(text):
        return JSON_LINES
    # A broken file of that name is told so, rather than indexed as prose.
    return JSON if suffix == ".json" or _is_json(text, is_whole) else ""


def _is_json(text: str, is_whole: bool) -> bool:  # noqa: FBT001
    if is_whole:
        return _loads(text)
    end = _JSON_TOKENS.match(text)
    rest = text[end.end() :] if end else text
    return not rest or _CUT_TOKEN.fullmatch(rest) is not None


def _is_lines(text: str) -> bool:
    """Whether the first line is a JSON value of its own and another begins below."""
    first, _, others = text.lstrip().partition("\n")
    return others.lstrip().startswith(("{", "[")) and _loads(first)


def _loads(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _is_mail(text: str, is_whole: bool) -> bool:  # noqa: FBT001
    names: set[str] = set()
    lines = text.splitlines()
    for number, line in enumerate(lines if is_whole else lines[:-1]):
        if not line:
            break
        header = _HEADER.fullmatch(line)
        if header:
            names.add(header[1].lower())
        elif not line.startswith((" ", "\t")) and not (number == 0 and line.startswith("From ")):
            return False
    known = names & _MAIL_HEADERS
    fewest = 2 if known & _TRANSPORT_HEADERS else _FEWEST_MAIL_HEADERS
    return len(known) >= fewest or known >= {"mime-version", "content-type"}
