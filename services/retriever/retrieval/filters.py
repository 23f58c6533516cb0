"""Filters: which of a tenant's documents a search looks in. Typed and checked here; each index renders them its own way."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from rag.ids import check_id
from rag.runtime.errors import InvalidInput
from services.retriever.passages import Scalar

MAX_DOCUMENTS = 100
MAX_CONDITIONS = 20
MAX_VALUES = 100
MAX_TEXT = 1_000
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class Equals:
    """The key is there and has this value."""

    value: Scalar


@dataclass(frozen=True, slots=True)
class NotEquals:
    """The key is there and has another value or one of another kind."""

    value: Scalar


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The key is there and has one of these values."""

    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Within:
    """The key is there and is a number within these bounds, both included; None is no bound."""

    least: float | None
    greatest: float | None


Test = Equals | NotEquals | AnyOf | Within


@dataclass(frozen=True, slots=True)
class Condition:
    """A test on one metadata key."""

    key: str
    test: Test


@dataclass(frozen=True, slots=True)
class Filter:
    """All parts must hold; an empty filter holds for every document."""

    document_ids: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()


def check_filter(wanted: Filter) -> Filter:
    """Return `wanted` when it is well formed.

    Raises:
        InvalidInput: BAD_FILTER, or BAD_ID for a document id.
    """
    _require(len(wanted.document_ids) <= MAX_DOCUMENTS, f"A filter names at most {MAX_DOCUMENTS} documents.")
    _require(len(wanted.conditions) <= MAX_CONDITIONS, f"A filter has at most {MAX_CONDITIONS} conditions.")
    for document_id in wanted.document_ids:
        check_id(document_id, "filter.document_ids")
    for condition in wanted.conditions:
        _check_condition(condition)
    return wanted


def _check_condition(condition: Condition) -> None:
    well_formed = _KEY.fullmatch(condition.key) is not None
    _require(well_formed, "A condition's key is a letter, then letters, digits or underscores, 64 at most.")
    match condition.test:
        case Equals(value) | NotEquals(value):
            _check_value(condition.key, value)
        case AnyOf(values):
            _check_values(condition.key, values)
        case Within(least, greatest):
            _check_range(condition.key, least, greatest)


def _check_values(key: str, values: tuple[Scalar, ...]) -> None:
    _require(1 <= len(values) <= MAX_VALUES, f"any_of on {key} takes 1 to {MAX_VALUES} values.")
    _require(len({type(value) for value in values}) == 1, f"The values of any_of on {key} must be of one kind.")
    for value in values:
        _check_value(key, value)


def _check_value(key: str, value: Scalar) -> None:
    if isinstance(value, str):
        _require(len(value) <= MAX_TEXT, f"The value for {key} must be at most {MAX_TEXT} characters.")
    elif not isinstance(value, bool):
        _require(math.isfinite(value), f"The value for {key} must be a finite number.")


def _check_range(key: str, least: float | None, greatest: float | None) -> None:
    bounds = [bound for bound in (least, greatest) if bound is not None]
    _require(bool(bounds), f"The range on {key} needs at least one bound.")
    _require(all(map(math.isfinite, bounds)), f"The bounds of the range on {key} must be finite numbers.")
    _require(bounds[0] <= bounds[-1], f"The range on {key} has its bounds the wrong way round.")


def _require(holds: bool, message: str) -> None:  # noqa: FBT001 - reads as a sentence at every call
    if not holds:
        raise InvalidInput(message, "BAD_FILTER")
