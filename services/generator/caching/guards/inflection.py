"""Forms of one English word, and of nothing more.

A stemmer makes one stem of import and important, of employer and employee: too much for questions that share an answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

_IRREGULAR = (
    "be: been being",
    "become: became",
    "begin: began begun",
    "break: broke broken",
    "bend: bent",
    "bind: bound",
    "bite: bit bitten",
    "bring: brought",
    "build: built",
    "buy: bought",
    "cancel: cancelled cancelling",
    "child: children",
    "catch: caught",
    "choose: chose chosen",
    "deal: dealt",
    "do: done doing",
    "draw: drew drawn",
    "drink: drank drunk",
    "drive: drove driven",
    "eat: ate eaten",
    "fall: fell fallen",
    "feed: fed",
    "feel: felt",
    "fight: fought",
    "find: found",
    "fly: flew flown",
    "forget: forgot forgotten",
    "freeze: froze frozen",
    "get: got gotten getting",
    "give: gave given",
    "go: went gone",
    "grow: grew grown",
    "hear: heard",
    "hide: hid hidden",
    "hold: held",
    "keep: kept",
    "know: knew known",
    "lead: led",
    "leave: left leaving",
    "lend: lent",
    "lose: lost",
    "make: made",
    "man: men",
    "mean: meant",
    "meet: met",
    "pay: paid",
    "person: people",
    "overwrite: overwrote overwritten",
    "read: reading",
    "rebuild: rebuilt",
    "repay: repaid",
    "resend: resent",
    "rewrite: rewrote rewritten",
    "ride: rode ridden",
    "rise: rose risen",
    "run: ran",
    "say: said",
    "see: saw seen",
    "sell: sold",
    "shrink: shrank shrunk",
    "sink: sank sunk",
    "sleep: slept",
    "send: sent",
    "speak: spoke spoken",
    "spend: spent",
    "steal: stole stolen",
    "stick: stuck",
    "strike: struck",
    "swim: swam swum",
    "take: took taken",
    "teach: taught",
    "tell: told",
    "think: thought",
    "throw: threw thrown",
    "understand: understood",
    "undo: undid undone",
    "wake: woke woken",
    "wear: wore worn",
    "win: won winning",
    "withdraw: withdrew withdrawn",
    "woman: women",
    "write: wrote written",
)
# "left" is a side as well.
_LEMMAS: Mapping[str, str] = {
    form: line.partition(":")[0] for line in _IRREGULAR for form in line.partition(":")[2].split() if form != "left"
}
PAST_FORMS = (
    frozenset(_LEMMAS) - {"children", "men", "people", "women"} - {form for form in _LEMMAS if form.endswith("ing")}
)
"""Irregular forms of verbs that tell of the past."""

_PLURAL = re.compile(r"(?:ss|x|ch|sh|zz)es$")
_NOT_PLURAL = re.compile(r"(?:ss|us|is)$|^.{1,3}$")
_ENDING = re.compile(r"(?<!e)ed$|ing$")
_DOUBLED = re.compile(r"([bcdgkmnprtv])\1$")
_SHORT = re.compile(r"[^aeiou]*[aeiouy][^aeiouwxy]")
_SOFT = re.compile(r"(?:(?<!n)g|[cvu]|(?<!s)s|(?<!z)z|[bcdfgkpt]l)$")
_LONG = 6


@lru_cache(maxsize=16_384)
def lemma(word: str) -> str:
    """Return what all forms of a word in small letters have in common: store for stores, stored and storing."""
    known = _LEMMAS.get(word)
    plain = known or _without_ending(_without_plural(word))
    # An e that an ending has swallowed cannot be told from none in a long word: delet(ed), limit(ed).
    return plain[:-1] if len(plain) >= _LONG and plain.endswith("e") else plain


def _without_plural(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if _PLURAL.search(word):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not _NOT_PLURAL.search(word) else word


def _without_ending(word: str) -> str:
    if word.endswith("ied") and len(word) > 4:
        return word[:-3] + "y"
    rest = _ENDING.sub("", word)
    if rest == word or len(rest) < 2 or not re.search("[aeiouy]", rest):
        return word
    if _DOUBLED.search(rest) and len(rest) > 3:
        return rest[:-1]
    return rest + "e" if _SHORT.fullmatch(rest) or _SOFT.search(rest) else rest
