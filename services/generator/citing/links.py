"""Makes a model's text safe to render while it streams: no link or image in it leads where no passage does.

A model repeats what passages tell it to, and a link or an image in its text can carry what it read to whoever wrote them.
So what a browser would follow or fetch, in Markdown or in HTML, is turned into plain text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from services.generator.citing import links_grammar as grammar
from services.generator.citing.citations import numbers_in
from services.generator.citing.links_addresses import LONGEST, Addresses, spellings
from services.generator.citing.links_reading import MORE, Reading
from services.generator.citing.links_released import REMOVED, Released
from services.generator.events import Source


class LinkFilter:
    """Takes a model's text as it comes; returns it with every link and image to elsewhere made inactive.

    A link stays when its address stands in a passage, or is the bare root of a host that stands there. An image never does:
    it is fetched without a click. However the text is split, what leaves and what is counted are the same. Text is held
    back only while it may still become one of these, and never much more than `LONGEST` characters of it.

    Args:
        sources: The passages that the model was given.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._addresses = Addresses(sources)
        self._held = ""
        self._left = Released()
        self._is_busy = False
        self._has_ended = False

    @property
    def removed(self) -> int:
        """How many links, images, and elements of HTML that lead or fetch were made inactive."""
        return self._left.removed

    def feed(self, delta: str) -> str:
        """Return what can be released now."""
        if self._is_busy or not delta or grammar.TRIGGER.search(delta):
            return self._filtered(self._held + delta)
        self._left.before = delta
        return delta

    def close(self) -> str:
        """Return what was held back, at the end of the text."""
        self._has_ended = True
        return self._filtered(self._held)

    def _filtered(self, text: str) -> str:
        read = Reading(text, self._has_ended)
        at = 0
        while at < len(text):
            after = self._step(read, at)
            if after == MORE:
                break
            at = after
        self._held = text[at:]
        self._is_busy = bool(self._held) or self._left.is_apart or self._left.is_after_bracket()
        return self._left.taken()

    def _step(self, read: Reading, at: int) -> int:
        """Release what begins at a place; return the next place, or `MORE`."""
        if self._left.is_apart and not self._left.part(read, at):
            return MORE
        found = grammar.POINT.search(read.text, at)
        if not found:
            return self._left.push(read.text[at:], len(read.text))
        if found.start() > at:
            return self._left.push(read.text[at : found.start()], found.start())
        kind = str(found.lastgroup)
        if kind in {"word", "begun"} and at == 0 and self._left.last().isascii() and self._left.last().isalpha():
            return self._left.push(read.text[at], at + 1)
        after: int = getattr(self, f"_at_{kind}")(read, at, found.end())
        return after

    def _at_begun(self, read: Reading, at: int, end: int) -> int:
        return self._left.push(read.text[at:end], end) if self._has_ended else MORE

    def _at_word(self, read: Reading, at: int, end: int) -> int:
        run = read.run(end)
        if read.is_short(end + len(run)) and len(run) < LONGEST:
            return MORE
        word = read.text[at:end].lower()
        is_address = run and (word not in {"data:", "file:"} or any(character in run for character in ",;/\\"))
        if not is_address:
            return self._left.push(read.text[at:end], end)
        return self._address(read.text[at : end + len(run)], end + len(run), self._addresses.hold)

    def _at_slashes(self, read: Reading, at: int, end: int) -> int:
        slashes = read.text[at:end]
        if read.is_short(end) and len(slashes) < grammar.LONGEST_SLASHES:
            return MORE
        if len(slashes) == 1 and self._left.last() not in {"/", "\\"}:
            return self._left.push(slashes, end)
        run = read.run(end)
        if read.is_short(end + len(run)) and len(run) < LONGEST:
            return MORE
        authority = re.split(r"[/?#]", run, maxsplit=1)[0]
        is_named = any(character in authority for character in ".@&") or authority.lower().startswith("localhost")
        is_address = any(map(str.isalnum, authority)) and (is_named or (self._left.last() == ":" and "/" in slashes))
        if not is_address:
            return self._left.push(slashes, end)
        return self._address(read.text[at : end + len(run)], end + len(run), self._addresses.hold_rest)

    def _address(self, run: str, after: int, hold: Callable[[str], bool]) -> int:
        options = spellings(run)
        url = next((option for option in options if hold(option)), None)
        if url is None:
            self._left.removed += 1
            blank = " " if self._left.is_after_bracket() else ""
            return self._left.push(blank + REMOVED + run[len(options[-1]) :], after)
        self._left.is_apart = True
        return self._left.push(run, after)

    def _at_entity(self, read: Reading, at: int, end: int) -> int:
        found = read.at(grammar.ENTITY, at)
        if read.is_short(found.end()) and not found[0].endswith(";") and len(found[0]) < grammar.LONGEST_MARKER:
            return MORE
        return self._left.push("&amp;" if grammar.hides(found[0]) else "&", end)

    def _at_mail(self, read: Reading, at: int, end: int) -> int:
        found = read.at(grammar.MAIL, at)
        if not grammar.MAILBOX.match(self._left.last()):
            return self._left.push("@", end)
        if read.is_short(found.end()):
            return MORE
        domain = found[0][1:].rstrip(".-_\\")
        if "." not in domain or self._addresses.hold_mail(domain):
            return self._left.push("@", end)
        self._left.removed += 1
        return self._left.push(" (at) ", end)

    def _at_colon(self, read: Reading, at: int, end: int) -> int:
        """Release a colon; one that would define where a reference leads stands apart."""
        if not self._left.is_after_bracket():
            return self._left.push(":", end)
        found = read.at(grammar.DEFINED, at)
        run, blanks, follows = found[1], found[2], read.text[found.end() : found.end() + 1]
        is_long = len(run) >= LONGEST or len(blanks) >= grammar.LONGEST_BLANK
        if read.is_short(found.end()) and not is_long:
            return MORE
        is_definition = is_long or follows in {"", "\r", "\n", '"', "'", "("} if run else follows in {" ", "\t"}
        return self._left.push(" :" if is_definition else ":", end)

    def _at_group(self, read: Reading, at: int, end: int) -> int:
        """Release a bracket; one that would make what stands before it a link stands apart, or goes with its address."""
        if not self._left.is_after_bracket():
            return self._left.push("(", end)
        after, url = read.target(at)
        if after == MORE:
            return MORE
        if url is None or self._addresses.hold(url) or not grammar.FOLLOWED.search(url):
            return self._left.push(" (", end)
        self._left.removed += 1
        self._left.is_apart = True
        return after

    def _at_image(self, read: Reading, _at: int, end: int) -> int:
        if read.is_short(end):
            return MORE
        marker = read.marker(end) if end < len(read.text) else 1
        if marker:
            return MORE if marker == MORE else self._left.push("!", end)
        after, label, _ = read.link(end)
        if after == MORE:
            return MORE
        return self._left.remove(self._inside(label), after) if after else self._left.push("! ", end)

    def _at_bracket(self, read: Reading, at: int, end: int) -> int:
        marker = read.marker(at)
        if marker:
            return marker if marker == MORE else self._at_marker(read.text[at:marker], marker)
        if self._left.is_apart or (
            self._left.is_after_bracket() and len(read.at(grammar.MARKER, at)[0]) > grammar.LONGEST_MARKER
        ):
            self._left.is_apart = False
            self._left.push(" ", at)
        after, label, url = read.link(at)
        if after == MORE:
            return MORE
        if not after:
            return self._left.push(read.text[at], end)
        if self._addresses.hold(url) and ":" in url and url.count("(") == url.count(")"):
            return self._left.push(f"[{self._inside(label)}]({url})", after)
        return self._left.remove(self._inside(label), after)

    def _at_marker(self, marker: str, after: int) -> int:
        """Release a marker. What stands around one without a source must not join when it is dropped."""
        if self._left.is_apart and not self._left.is_after_bracket():
            self._left.push(" ", after)
        self._left.is_apart = self._addresses.numbers.isdisjoint(numbers_in(marker))
        return self._left.push(marker, after)

    def _at_tag(self, read: Reading, at: int, end: int) -> int:
        found = read.at(grammar.AUTOLINK, at)
        content = found[1]
        if read.is_short(found.end()) and len(content) < LONGEST:
            return MORE
        is_closed = read.text[found.end() : found.end() + 1] == ">"
        if is_closed and ("@" in content or grammar.SCHEME.match(content)):
            return self._at_autolink(content, at, found.end() + 1)
        if name := grammar.element(read.text, at):
            self._left.removed += grammar.is_fetching(name)
            return self._left.push("&lt;", end)
        if content[:1].isascii() and content[:1].isalpha():
            return self._at_type(read, at, end)
        is_inert = content[:1] not in {"!", "?", "[", "【", "/"} or (
            content[0] == "/" and not grammar.element("<" + content[1:])
        )
        return self._left.push("<" if is_inert else "&lt;", end)

    def _at_type(self, read: Reading, at: int, end: int) -> int:
        found = read.at(grammar.GENERIC, at)
        after = found.end()
        if read.is_short(after) and after - at < grammar.LONGEST_TYPE:
            return MORE
        is_type = read.text[after : after + 1] == ">" and grammar.is_type(found[0])
        return self._left.push(read.text[at : after + 1], after + 1) if is_type else self._left.push("&lt;", end)

    def _at_autolink(self, content: str, at: int, after: int) -> int:
        scheme = grammar.SCHEME.match(content)
        if self._addresses.hold(content) if scheme else self._addresses.hold_mail(content.rpartition("@")[2]):
            self._left.is_apart = True
            # As HTML this is an element that nobody knows, but a value in it could be a script.
            return self._left.push(content if "=" in content else f"<{content}>", after)
        if scheme and not grammar.leads(content):
            return self._left.push("&lt;", at + 1)
        return self._left.remove("", after)

    def _inside(self, label: str) -> str:
        """Return a link's text made safe by itself."""
        inner = LinkFilter(())
        inner._addresses = self._addresses
        text = inner.feed(label) + inner.close()
        self._left.removed += inner.removed
        return text
