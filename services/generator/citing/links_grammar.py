"""What can become a link, an image or an element of HTML in a text that a browser renders: as Markdown, as HTML, or both.

No pattern goes back over what it read, so a hostile text costs no more than its length.
"""

from __future__ import annotations

import re
from html.entities import html5

from services.generator.citing.links_addresses import LONGEST

_WORDS = ("http", "https", "ftp", "file", "mailto", "xmpp", "javascript", "vbscript", "data")


def _begun(words: tuple[str, ...]) -> str:
    """Return a pattern for what any of the words begins with, one letter or more."""
    heads = sorted({word[0] for word in words if word})
    tails = ((head, tuple(word[1:] for word in words if word[:1] == head)) for head in heads)
    return "(?:" + "|".join(re.escape(head) + (f"{_begun(rest)}?" if any(rest) else "") for head, rest in tails) + ")"


def _trigger(words: tuple[str, ...]) -> str:
    """Return the pattern of `TRIGGER`: each choice begins with a sign as it is, so that others are skipped in one go."""
    choices = [*map(re.escape, "<[]【】&@/\\:"), r"!\Z", "w[wW]", "W[wW]"]
    for head in sorted({word[0] for word in words}):
        rest = _begun(tuple(word[1:] for word in words if word[0] == head))
        choices += [rf"{sign}(?<![A-Za-z]{sign})(?i:{rest})?\Z" for sign in (head, head.upper())]
    return "|".join(choices)


_OPENERS = (*_WORDS, "www\\")
_BEGUN = rf"(?<![A-Za-z]){_begun(_OPENERS)}\Z"
TRIGGER = re.compile(_trigger(_OPENERS), re.ASCII)
"""What a delta holds, or ends with, that needs a closer look."""
LONGEST_SLASHES = 16
POINT = re.compile(
    rf"(?P<tag><)|(?P<image>!(?=\[|\Z))|(?P<bracket>[\[【])|(?P<slashes>[/\\]{{1,16}}+)|(?P<entity>&)|(?P<mail>@)"
    rf"|(?P<group>\()|(?P<colon>:)|(?P<word>(?<![A-Za-z])(?:(?:{'|'.join(_WORDS)}):|www\\?\.))|(?P<begun>{_BEGUN})",
    re.ASCII | re.IGNORECASE,
)
"""Where the closer look begins, and at what."""

LONGEST_MARKER = 64
MARKER = re.compile(r"[\[【][\d \t,;，、^]{0,65}+")
"""A marker of a citation without its end, and what looks like one: always text. See `citations`."""
LABEL = re.compile(rf"\[([^\[\]\n]{{0,{LONGEST}}}+)")
GROUP = re.compile(r"\((?:[^()\n]|\n(?![ \t]*+\n)|\([^()\n]*+\))*+")
"""What a link's address stands in, without the end; a blank line ends every link."""
NESTED = re.compile(r"\([^()\n]*+")
TARGET = re.compile(
    r"\(\s*+(?:<([^<>\n]*+)>|([^\s()<>]*+(?:\([^\s()<>]*+\)[^\s()<>]*+)*+))"
    r"(?:\s++(?:\"[^\"]*+\"|'[^']*+'|\([^()]*+\))?+)?+\s*+\)"
)
FOLLOWED = re.compile(r"[:/\\&.?#]")
"""A target with none of these is not meant as an address."""
LONGEST_BLANK = 64
DEFINED = re.compile(rf":[ \t]{{0,64}}+(?:(?:\r\n?|\n)[ \t>]{{0,64}}+)?+(\S{{0,{LONGEST}}}+)([ \t]{{0,64}}+)")
"""Where a reference leads, and what follows."""
AFTER = re.compile(r"[.,;:!?)\]\"'`*>。，]{0,16}+")
"""What may follow on a link directly, when a blank follows on it."""
BEFORE = frozenset(" \t\r\n(\"'*>|-,，。：（")
"""What the text of a link may follow on directly."""
MAIL = re.compile(r"@[\w.\-\\]{0,254}+")
MAILBOX = re.compile(r"[A-Za-z0-9._+\-\\]")
ENTITY = re.compile(r"&(?:#(?:[xX][0-9a-fA-F]{0,8}+|\d{0,8}+)|[A-Za-z][A-Za-z0-9]{0,31}+)?;?")
_PLAIN_ENTITIES = frozenset("<>&\"'\xa0")

AUTOLINK = re.compile(rf"<([^\s<>]{{0,{LONGEST}}}+)")
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]{0,31}+:")
LONGEST_TYPE = 102
GENERIC = re.compile(r"<[A-Za-z][\w ,.?*<|-]{0,100}+")
"""A type in a programming language: it has no attribute with a value, so it does nothing as an element."""
_NAME = re.compile(r"<([A-Za-z][A-Za-z0-9]*+)")
_FETCHING_NAMES = (
    "a applet area audio base bgsound body button embed feimage form frame frameset iframe image img input isindex "
    "link math meta object picture script source style svg table td th track use video"
)
_FETCHING = frozenset(_FETCHING_NAMES.split())
_OTHER_NAMES = (
    "abbr acronym address animate animatemotion animatetransform article aside b basefont bdi bdo big blink "
    "blockquote br canvas caption center circle cite code col colgroup command data datalist dd defs del desc details "
    "dfn dialog dir div dl dt ellipse em fencedframe fieldset figcaption figure filter font footer foreignobject g h1 "
    "h2 h3 h4 h5 h6 head header hgroup hr html i ins kbd keygen label layer legend li line listing main maction map "
    "mark marquee menu menuitem meter mglyph mtext multicol nav nextid nobr noembed noframes noscript ol optgroup "
    "option output p param path pattern plaintext polygon polyline portal pre progress q rb rect rp rt rtc ruby s "
    "samp search section select set slot small spacer span stop strike strong sub summary sup symbol tbody template "
    "text textarea textpath tfoot thead time title tr tspan tt u ul var view wbr xmp xml"
)
_ELEMENTS = _FETCHING | frozenset(_OTHER_NAMES.split())


def element(text: str, at: int = 0) -> str:
    """Return the name of the element of HTML that begins here; empty when none does."""
    found = _NAME.match(text, at)
    name = found[1].lower() if found else ""
    return name if name in _ELEMENTS else ""


def is_fetching(name: str) -> bool:
    """Tell whether an element of this name leads, or fetches from, somewhere."""
    return name in _FETCHING


def is_type(text: str) -> bool:
    """Tell whether what `GENERIC` found is a type, and no element of HTML stands in it."""
    return "www" not in text.lower() and not any(element(text, at) for at, sign in enumerate(text) if sign == "<")


def leads(url: str) -> bool:
    """Tell whether a browser would follow an address, whatever stands at its end; a name in a program such as `std::map` not."""
    return "//" in url or "\\" in url or "@" in url or url.lower().startswith(tuple(f"{word}:" for word in _WORDS))


def hides(entity: str) -> bool:
    """Tell whether an entity stands for a character that an address could be written with."""
    name = entity[1:].rstrip(";")
    if name.startswith("#"):
        digits = name[1:]
        is_hex = digits[:1] in {"x", "X"}
        code = int(digits.lstrip("xX") or "0", 16 if is_hex else 10)
        meant = chr(code) if code < 0x110000 else ""
    else:
        meant = html5.get(name + ";", "") if entity.endswith(";") else ""
    return any(character.isascii() and character not in _PLAIN_ENTITIES for character in meant)
