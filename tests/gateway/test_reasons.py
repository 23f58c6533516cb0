"""The reasons of errors: those in the documentation are those in the code, with the status that the code gives them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from rag.runtime import errors
from services.gateway.http.problems import status_of
from services.gateway.http.reasons import _TABLE

ROOT = Path(__file__).resolve().parents[2]
OF_HTTP = {
    *("INVALID", "BODY_TIMEOUT", "BODY_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE"),
    *("RATE_LIMITED", "TOO_MANY_STREAMS", "TOKENS_SPENT", "COST_SPENT", "QUOTA_DOCUMENTS", "QUOTA_BYTES"),
}
"""Not raised under their name in one place: made from a status, or from a table of refusals."""
MADE = {f"{name.upper()}_UNAVAILABLE" for name in ("embedder", "retriever", "generator", "ingestor")}


def raised() -> Iterator[tuple[str, type[errors.RagError]]]:
    for path in [*(ROOT / "services").rglob("*.py"), *(ROOT / "rag").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) >= 2:
                kind, reason = getattr(errors, node.func.id, None), node.args[1]
                if isinstance(kind, type) and isinstance(reason, ast.Constant) and isinstance(reason.value, str):
                    yield reason.value, kind


@pytest.fixture(scope="module")
def statuses() -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for reason, kind in raised():
        found.setdefault(reason, set()).add(status_of(kind("m", reason)))
    return found


@pytest.mark.parametrize("status", _TABLE)
def test_what_is_documented_is_what_is_raised(statuses: dict[str, set[int]], status: int) -> None:
    wrong = {
        reason: statuses.get(reason, set())
        for reason in set(_TABLE[status]) - OF_HTTP - MADE
        if statuses.get(reason) and status not in statuses[reason]
    }
    assert wrong == {}


def test_no_reason_is_documented_that_is_not_in_the_code(statuses: dict[str, set[int]]) -> None:
    elsewhere = "\n".join(
        path.read_text()
        for folder in ("services", "rag")
        for path in (ROOT / folder).rglob("*.py")
        if "http" not in path.parts
    )
    documented = {reason for reasons in _TABLE.values() for reason in reasons} - OF_HTTP - MADE - statuses.keys()
    assert {reason for reason in documented if f'"{reason}"' not in elsewhere} == set()
