"""Filters as Milvus text: the one place where an expression is written, and the form of the metadata it reads.

No character of a client's text ever stands in an expression. Ids and tenants have a strict alphabet, and a metadata
value is compared by a token: its kind and, for texts, a digest. The engine's own literals fail where they must not: it reads
no escaped line feed and no escaped letter outside of ASCII, `!=` holds for a missing key, and `exists` and `not` do
not work at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rag.ids import check_id, check_tenant
from services.retriever.adapters.milvus_rows import row_id
from services.retriever.passages import Place, Scalar
from services.retriever.retrieval.filters import AnyOf, Condition, Equals, NotEquals, Within, check_filter
from services.retriever.retrieval.legs import Scope

_MOST = 2**63 - 1


def stored(metadata: Mapping[str, Scalar]) -> dict[str, Any]:
    """Return a document's metadata as its rows hold it: a token per key, and the numbers for ranges."""
    numbers = {key: float(value) for key, value in metadata.items() if not isinstance(value, str | bool)}
    return {"is": {key: token(value) for key, value in metadata.items()}, "number": numbers}


def token(value: Scalar) -> str:
    """Return the text that stands for a value: the same for equal values of one kind, different for all others."""
    if isinstance(value, bool):
        return f"flag:{str(value).lower()}"
    if isinstance(value, str):
        return f"text:{hashlib.sha256(value.encode()).hexdigest()[:32]}"
    return f"number:{float(value) + 0.0!r}"  # + 0.0 makes one of the two zeros


def in_scope(scope: Scope) -> str:
    """Return the expression of a search. The tenant stands first."""
    wanted = check_filter(scope.filter)
    parts = [_tenant(scope.tenant)]
    if wanted.document_ids:
        names = ", ".join(f'"{document_id}"' for document_id in wanted.document_ids)
        parts.append(f"document_id in [{names}]")
    parts += [_condition(condition) for condition in wanted.conditions]
    stale = [
        f'(document_id != "{check_id(document_id, "document_id")}" or version != {version:d})'
        for document_id, version in sorted(scope.stale)
    ]
    return " and ".join([*parts, _tree(stale, "and")] if stale else parts)


def in_versions(tenant: str, document_id: str, first: int, last: int) -> str:
    """Return the expression of all rows of a document's versions `first` to `last`, both included."""
    document = f'document_id == "{check_id(document_id, "document_id")}"'
    return f"{_tenant(tenant)} and {document} and version >= {first:d} and version <= {min(last, _MOST):d}"


def at_places(tenant: str, places: Iterable[Place]) -> str:
    """Return the expression of the rows at some places."""
    keys = ", ".join(f'"{row_id(tenant, place)}"' for place in places)
    return f"id in [{keys}]"


def in_turn(after: str) -> str:
    """Return the expression of the rows behind a row's id, which is made of ids; all for an empty one."""
    for part in after.split("/") if after else ():
        check_id(part, "id")
    return f'id > "{after}"'


def _tenant(tenant: str) -> str:
    return f'tenant == "{check_tenant(tenant)}"'


def _condition(condition: Condition) -> str:
    path = f'metadata["is"]["{condition.key}"]'
    match condition.test:
        case Equals(value):
            return f'{path} == "{token(value)}"'
        case NotEquals(value):
            # Tokens are never empty, so the first half says that the key is there.
            return f'({path} > "" and {path} != "{token(value)}")'
        case AnyOf(values):
            # Not `in`: there are servers that know it for fields only.
            return _tree([f'{path} == "{token(value)}"' for value in values], "or")
        case Within(least, greatest):
            return _range(f'metadata["number"]["{condition.key}"]', least, greatest)


def _tree(tests: Sequence[str], word: str) -> str:
    """Return tests joined by a word, as a tree: an engine gives up on chains of some dozens, which nest too deep for it."""
    if len(tests) == 1:
        return tests[0]
    middle = len(tests) // 2
    return f"({_tree(tests[:middle], word)} {word} {_tree(tests[middle:], word)})"


def _range(path: str, least: float | None, greatest: float | None) -> str:
    bounds = []
    if least is not None:
        bounds.append(f"{path} >= {float(least)!r}")
    if greatest is not None:
        bounds.append(f"{path} <= {float(greatest)!r}")
    return f"({' and '.join(bounds)})"
