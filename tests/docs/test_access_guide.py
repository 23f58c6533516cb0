"""The guide on access names every method of the contract under the scope that it asks for."""

from __future__ import annotations

import re
from pathlib import Path

from rag.runtime.access import required_scope
from tests.contract import methods

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "access.md").read_text("utf-8")


def test_each_method_stands_under_its_scope() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ((?:`\w+`(?:, )?)+) \|", GUIDE, re.MULTILINE)
    told = {method: scope for scope, names in rows for method in re.findall(r"\w+", names)}
    asked = {method.name: required_scope(method.containing_service.full_name, method.name) for method in methods()}
    assert told == asked
