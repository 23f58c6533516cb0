"""Words of English: those that a question can lose, those that stand for each other, and those that ask."""

from __future__ import annotations

from collections.abc import Mapping


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ENGLISH = _words(
    "the what which who whom whose why when where how does did can could should would must have been you your our there this "
    "that they their any not with from after before"
)
"""Words that other languages hardly have."""
HALF_ENGLISH = _words("is are to for it an and or by my a do was has will am may were")
"""Words that others have, but hardly two of them. A question without those and these is compared as it is written."""

AUXILIARIES = _words(
    "am is are was were be been being do does did can could may might will would shall should must has have had"
)
"""What follows a word that asks, and opens a question that is answered by yes or no."""

PAST = _words("did was were had")
FUTURE = _words("will shall")
OBLIGED = _words("must should shall")
ABLE = _words("can could may might")

ASKING: Mapping[str, str] = {
    "what": "what",
    "which": "what",
    "who": "who",
    "whom": "who",
    "whose": "whose",
    "when": "when",
    "where": "where",
    "why": "why",
    "how": "how",
}
CONJUNCTIONS = _words("when where how why")
"""Those of them that also join clauses: they ask when an auxiliary follows, or when they stand first or last."""
AMOUNTS = _words("many much long often far old")
"""What is asked by "how": how many is not how long."""

NEGATIONS = _words("not no never without none nothing nobody neither nor except cannot non excluding")

# Of the prepositions only those that no question needs; the others make a difference of their own.
DROPPED = AUXILIARIES | _words(
    "a an the of to for in on at by with as and that this these those there so if then whether it its please kindly exactly actually "
    "just really hi hello thanks thank s having any also ever simply precisely yet"
)

PERSONS: Mapping[str, str] = {
    **dict.fromkeys(("i", "we", "me", "us", "my", "our", "mine", "ours", "myself", "ourselves"), "i"),
    **dict.fromkeys(("you", "your", "yours", "yourself"), "you"),
}
"""Whoever asks. Who says both "I" and "you" means two."""

PIVOTS = _words("to for in on at by with of as")
"""Dropped words that two others may change places around: from A to B is not from B to A."""
DISTINCT = _words("to by with as")
"""Those of them that none of the others can replace."""

ORDINALS = ("zeroth", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
PERIODS: Mapping[str, str] = {"q": "quarter", "h": "half"}

_SIGNS = {"$": "dollar", "\u20ac": "euro", "\u00a3": "pound", "\u00a5": "yen", "%": "percent"}
_SHORT_UNITS = [
    "kg",
    "kilogram",
    "mg",
    "milligram",
    "km",
    "kilometre",
    "cm",
    "centimetre",
    "mm",
    "millimetre",
    "ml",
    "millilitre",
    "kB",
    "kilobyte",
    "KB",
    "kilobyte",
    "MB",
    "megabyte",
    "GB",
    "gigabyte",
    "TB",
    "terabyte",
    "ms",
    "millisecond",
    "min",
    "minute",
    "mins",
    "minute",
    "h",
    "hour",
    "hr",
    "hour",
    "hrs",
    "hour",
    "sec",
    "second",
    "secs",
    "second",
    "°C",
    "celsius",
    "°F",
    "fahrenheit",
]
UNITS: Mapping[str, str] = {**_SIGNS, **dict(zip(_SHORT_UNITS[::2], _SHORT_UNITS[1::2], strict=True))}
"""What stands for a sign, or for a short unit behind its number: mW is not MW."""
SCALES: Mapping[str, int] = {
    "hundred": 100,
    "thousand": 1_000,
    "million": 1_000_000,
    "billion": 1_000_000_000,
    "trillion": 1_000_000_000_000,
}
_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
NUMBERS: Mapping[str, int] = {
    **{word: value for value, word in enumerate(_SMALL.split())},
    **{word: 10 * value for value, word in enumerate(_TENS.split(), start=2)},
}

WORDS = (
    ENGLISH
    | AUXILIARIES
    | NEGATIONS
    | DROPPED
    | NUMBERS.keys()
    | SCALES.keys()
    | ASKING.keys()
    | PERSONS.keys()
    | frozenset(ORDINALS)
)
"""All of them: none is another word with a typing error."""
