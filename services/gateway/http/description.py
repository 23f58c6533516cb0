"""What OpenAPI says beside what FastAPI finds in the routes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

_GUARDED = "/v1/"
_SCHEME = "key"
_TAGS = {
    "documents": "Uploads and the catalogue.",
    "jobs": "The work of making uploads searchable.",
    "query": "Questions and searches.",
    "openai": "The same for clients of OpenAI.",
    "feedback": "What people think of answers.",
    "usage": "What was used, and what may be.",
    "keys": "API keys of the tenant, for its admins.",
    "cache": "What is remembered of questions.",
    "index": "The index that all tenants share, for operators.",
    "health": "Whether it lives, whether it is ready, what it measured.",
}
_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key (`rmk_...`), or a JWT where the server takes them. Not asked for with GATEWAY_AUTH=off.",
}


def described(describe: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the description with who may come in, and without the 422 that FastAPI adds: what is not valid is a 400 here."""
    spec = describe()
    for path, operation in _operations(spec):
        operation["responses"].pop("422", None)
        _drop_no_json(operation)
        operation["security"] = [{_SCHEME: []}] if path.startswith(_GUARDED) else []
    components = spec.setdefault("components", {})
    components["securitySchemes"] = {_SCHEME: _BEARER}
    for name in ("HTTPValidationError", "ValidationError"):
        components.get("schemas", {}).pop(name, None)
    used = {tag for _, operation in _operations(spec) for tag in operation.get("tags", ())}
    spec["tags"] = [{"name": name, "description": text} for name, text in _TAGS.items() if name in used]
    return spec


def _drop_no_json(operation: dict[str, Any]) -> None:
    """Drop the JSON without a schema that FastAPI adds to answers that are events only."""
    for answer in operation["responses"].values():
        content = answer.get("content", {})
        if "text/event-stream" in content and not content.get("application/json", {}).get("schema"):
            content.pop("application/json", None)


def _operations(spec: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, operations in spec["paths"].items():
        for operation in operations.values():
            yield path, operation
