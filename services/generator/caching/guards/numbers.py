"""Numbers and their units, written one way."""

from __future__ import annotations

import re
from collections.abc import Sequence

from services.generator.caching.guards.tables import NUMBERS, ORDINALS, PERIODS, SCALES, UNITS

_NUMBER = re.compile(
    r"(?P<before>[$€£¥])?(?P<number>[-+]?\d+(?:[.,]\d+)*)(?P<scale>k(?![a-zA-Z]))?(?P<unit>%|[$€£¥]|[A-Za-zµ°]{1,4}(?:/[a-z]{1,3})?)?"
)
_GROUPED = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_ORDINAL = re.compile(r"(\d{1,2})(?:st|nd|rd|th)")
_PERIOD = re.compile(r"([qh])([1-4])")
_YEAR = re.compile(r"fy'?(?:20)?(\d\d)")
_PLAIN = re.compile(r"\d+(?:\.\d+)?")


def parts_of(chunk: str) -> list[str]:
    """Return a chunk that is no plain word as what it stands for: $5k is dollar and 5000, Q1 is first and quarter.

    What is neither is a name, and stays as it is in small letters.
    """
    small = chunk.lower()
    if small in UNITS:
        return [UNITS[small]]
    if period := _PERIOD.fullmatch(small):
        return [ORDINALS[int(period[2])], PERIODS[period[1]]]
    if year := _YEAR.fullmatch(small):
        return ["fiscal", f"20{year[1]}"]
    if (ordinal := _ORDINAL.fullmatch(small)) and int(ordinal[1]) < len(ORDINALS):
        return [ORDINALS[int(ordinal[1])]]
    if number := _NUMBER.fullmatch(chunk):
        return _of_number(number)
    if re.fullmatch(r"\w+'s", small):
        return [small[:-2]]
    return [small]


def _of_number(found: re.Match[str]) -> list[str]:
    number = found["number"]
    if _GROUPED.fullmatch(number):
        number = number.replace(",", "")
    if found["scale"] and _PLAIN.fullmatch(number):
        number = _times(number, 1_000)
    units = [found["before"], found["unit"]]
    return [number, *(UNITS.get(unit, unit) for unit in units if unit)]


def numbers_joined(tokens: Sequence[str]) -> list[str]:
    """Return the tokens with numbers in words, and those before a scale, as digits: twenty five is 25."""
    joined: list[str] = []
    for token in tokens:
        before = joined[-1] if joined else ""
        if token in NUMBERS:
            value = NUMBERS[token]
            if _is_tens(before) and value < 10:
                joined[-1] = str(int(before) + value)
            else:
                joined.append(str(value))
        elif token in SCALES and _PLAIN.fullmatch(before):
            joined[-1] = _times(before, SCALES[token])
        else:
            joined.append(token)
    return joined


def _is_tens(token: str) -> bool:
    # Of digits written by the asker 20 5 stays two numbers as well: a questioner who means 25 writes it.
    return re.fullmatch(r"[2-9]0", token) is not None


def _times(number: str, factor: int) -> str:
    whole, _, part = number.partition(".")
    digits = len(part)
    value = int(whole + part) * factor
    return str(value // 10**digits) if value % 10**digits == 0 else f"{value / 10**digits}"
