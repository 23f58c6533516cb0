"""Which addresses an answer may hold: those that stand in the passages the model was given."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property

from services.generator.events import Source

LONGEST = 2_048
"""No address, and no text of a link, has more characters."""
RUN = re.compile(rf"[^\s<>\"`\[\]【】，。、；！？）」』》]{{0,{LONGEST}}}+")
"""What an address goes on with."""
_URL = re.compile(
    r"(?<![A-Za-z0-9+.\-])[A-Za-z][A-Za-z0-9+.\-]*+:(?=[^\s<>])|www\.|[/\\]{2,}", re.ASCII | re.IGNORECASE
)
_ROOT = re.compile(r"(?:https?://)?((?:[a-z0-9-]+\.)+[a-z0-9-]*[a-z0-9](?::\d+)?)/?", re.ASCII | re.IGNORECASE)
_SCRIPT = re.compile(r"(?:java|vb|live)script:|data:|blob:", re.ASCII | re.IGNORECASE)
_ENDS = ".,;:!?'*"


def spellings(run: str) -> tuple[str, ...]:
    """Return what the address in a run may be, longest first: punctuation and brackets at its end may be the sentence's."""
    return tuple(dict.fromkeys((run, run.rstrip(_ENDS), run.rstrip(_ENDS + ")}"))))


def _run(text: str, at: int) -> str:
    found = RUN.match(text, at)
    return found[0] if found else ""


class Addresses:
    """The addresses in the texts of passages.

    Args:
        sources: The passages that the model was given. They are read when the first address is looked for.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._texts = [source.passage.text for source in sources]
        self.numbers = frozenset(source.number for source in sources)

    def hold(self, url: str) -> bool:
        """Tell whether an address stands in a passage as it is, or is the bare root of a host that does.

        One that runs a script stands in none: where it leads is what it says, and passages are not to be trusted either.
        """
        if _SCRIPT.match(url):
            return False
        if url in self._urls:
            return True
        if url[:7].lower() == "mailto:":
            return self._stands(url[7:]) and "@" in url
        root = _ROOT.fullmatch(url)
        return root is not None and self._stands(root[1])

    def hold_rest(self, rest: str) -> bool:
        """Tell whether an address whose scheme was not looked at stands in a passage; it begins at its slashes."""
        return rest in self._rests

    def hold_mail(self, domain: str) -> bool:
        """Tell whether an address for mail at this domain stands in a passage."""
        return self._stands("@" + domain)

    @cached_property
    def _urls(self) -> frozenset[str]:
        return frozenset(
            spelling
            for text in self._texts
            for found in _URL.finditer(text)
            for spelling in spellings(found[0] + _run(text, found.end()))
        )

    @cached_property
    def _rests(self) -> frozenset[str]:
        return frozenset(url[url.index("//") :] for url in self._urls if "//" in url)

    def _stands(self, name: str) -> bool:
        """Tell whether a name stands in a passage by itself, not as a part of a longer one."""
        before = "" if name.startswith("@") else r"(?<![\w.@-])"
        whole = re.compile(before + re.escape(name) + r"(?![\w-]|\.\w)", re.IGNORECASE)
        return any(whole.search(text) for text in self._texts)
