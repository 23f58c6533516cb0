"""Days and times of day, written one way."""

from __future__ import annotations

import re

_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_SHORT = {name[:3]: name for name in _MONTHS} | {"sept": "september"}
_MONTH = "|".join((*_MONTHS, *_SHORT))
_YEAR = r"(?P<year>,? ?(?:19|20)\d\d)?"
_ISO = re.compile(r"\b(?P<year>(?:19|20)\d\d)-(?P<month>\d\d)-(?P<day>\d\d)\b")
_DAY_FIRST = re.compile(rf"\b(?:the )?(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?: of)? (?P<month>{_MONTH})\b\.?{_YEAR}")
_MONTH_FIRST = re.compile(
    rf"\b(?P<month>{_MONTH})\b\.? (?:the )?(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\b(?![.:]\d|%| ?[ap]m){_YEAR}"
)
_TIME = re.compile(r"\b(?P<hour>1[0-2]|0?[1-9])(?:[:.](?P<minute>[0-5]\d))? ?(?P<half>[ap])\.?m\b\.?")
_NAMED_TIMES = ((re.compile(r"\b(?:12 )?(?:noon|midday)\b"), "12:00"), (re.compile(r"\b(?:12 )?midnight\b"), "0:00"))


def dates_in_one_way(text: str) -> str:
    """Return a text in small letters with 3rd of March, 2023 as march 3 2023, and 5 pm as 17:00."""
    if not any(character.isdigit() for character in text) and "noon" not in text and "mid" not in text:
        return text
    for pattern in (_ISO, _DAY_FIRST, _MONTH_FIRST):
        text = pattern.sub(_day, text)
    for pattern, instead in _NAMED_TIMES:
        text = pattern.sub(instead, text)
    return _TIME.sub(_hour, text)


def _day(found: re.Match[str]) -> str:
    name = found["month"]
    if name.isdigit():
        if not 1 <= int(name) <= len(_MONTHS):
            return found[0]
        name = _MONTHS[int(name) - 1]
    year = (found["year"] or "").strip(", ")
    return f"{_SHORT.get(name, name)} {int(found['day'])} {year}".rstrip()


def _hour(found: re.Match[str]) -> str:
    hour = int(found["hour"]) % 12 + (12 if found["half"] == "p" else 0)
    return f"{hour}:{found['minute'] or '00'}"
