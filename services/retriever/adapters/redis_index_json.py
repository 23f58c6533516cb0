"""What is recorded about indexes, as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from services.retriever.opening import Index
from services.retriever.passages import Model
from services.retriever.rebuild.standing import Comparison, Labelled, Outcome, Progress, Retired, Stage, Wish


def dump(value: Wish | Comparison | Outcome | Progress | Retired) -> str:
    """Return a value as JSON."""
    return json.dumps(asdict(value), default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, Stage):
        return value.value
    raise TypeError(repr(value))


def index_of(fields: dict[str, Any]) -> Index:
    """Return the index that its fields tell."""
    return Index(**{**fields, "model": Model(**fields["model"])})


def wish_of(text: bytes) -> Wish:
    """Return the wish that `dump` wrote."""
    fields = json.loads(text)
    queries = tuple(Labelled(item["query"], tuple(item["document_ids"])) for item in fields.pop("queries"))
    return Wish(**{**fields, "target": index_of(fields["target"]), "queries": queries})


def progress_of(text: bytes | None) -> Progress:
    """Return the progress that `dump` wrote; the very beginning when there is none."""
    fields = json.loads(text) if text else {"stage": Stage.COPYING.value}
    return Progress(**{**fields, "stage": Stage(fields["stage"])})


def retired_of(text: bytes) -> Retired:
    """Return the retired index that `dump` wrote."""
    fields = json.loads(text)
    return Retired(**{**fields, "index": index_of(fields["index"])})


def comparison_of(text: bytes | None) -> Comparison | None:
    """Return the comparison that `dump` wrote, None when there is none."""
    return Comparison(**json.loads(text)) if text else None


def outcome_of(text: bytes | None) -> Outcome | None:
    """Return the outcome that `dump` wrote, None when there is none."""
    if not text:
        return None
    fields = json.loads(text)
    found = fields["comparison"]
    return Outcome(**{**fields, "comparison": Comparison(**found) if found else None})
