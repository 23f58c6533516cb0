"""The upload as OpenAPI describes it: FastAPI sees none of it, because the route reads its body itself."""

from __future__ import annotations

from services.gateway.http import schemas
from services.gateway.http.uploads import KEY_HEADER, PASSWORD_HEADER, JsonBody

_TEXT: schemas.Schema = {"type": "string"}
_FORM: schemas.Schema = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "document_id": {**_TEXT, "description": "Of one file: with several, send one before each, or none."},
        "title": _TEXT,
        "metadata": {**_TEXT, "description": "A JSON object of texts, numbers and booleans."},
        "request_id": {**_TEXT, "description": f"As the header {KEY_HEADER}, which wins."},
        "password": {**_TEXT, "description": f"As the header {PASSWORD_HEADER}, which wins."},
        "file": {
            "type": "array",
            "items": {"type": "string", "format": "binary"},
            "description": "One file or several, each after the fields that count for it.",
        },
    },
}
_EXAMPLES = {
    "text": {"value": {"text": "# Keys\n\nRotate them monthly.", "name": "keys.md", "metadata": {"team": "ops"}}},
    "url": {"value": {"url": "https://example.org/manual.pdf", "title": "The manual"}},
}
_HEADERS = {
    KEY_HEADER: (
        "Makes the upload safe to repeat: 1 to 255 printable characters. The same key with the same content gives the same "
        "job; with other content it is refused with 409. Of the files of a form the first has the key itself, the others "
        "`key/2`, `key/3` and so on."
    ),
    PASSWORD_HEADER: "The password that opens the document, for an encrypted PDF; of a form, all its documents.",
}


def _header(name: str) -> schemas.Schema:
    return {"name": name, "in": "header", "required": False, "schema": _TEXT, "description": _HEADERS[name]}


_QUERY = ("name", "document_id", "title", "metadata", "request_id")

UPLOAD: schemas.Schema = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _FORM},
            "application/json": {"schema": JsonBody.model_json_schema(), "examples": _EXAMPLES},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    },
    "parameters": [
        *map(_header, _HEADERS),
        *(
            {"name": name, "in": "query", "required": False, "schema": _TEXT, "description": "Of raw bytes."}
            for name in _QUERY
        ),
    ],
}
PASSWORD: schemas.Schema = {"parameters": [_header(PASSWORD_HEADER)]}
