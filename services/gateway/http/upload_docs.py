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
_FORM_EXAMPLES = {"one": {"value": {"title": "The manual", "file": ["(the bytes of manual.pdf)"]}}}
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


REFUSED = (
    *("BAD_FORM", "BAD_ID", "BAD_MEDIA_TYPE", "BAD_NAME", "BAD_PASSWORD", "BAD_REQUEST_ID", "BAD_TITLE", "BAD_URL"),
    *("DOCUMENT_ID_TWICE", "EMPTY_FILE", "FIELD_AFTER_FILE", "NO_FILE", "NO_NAME", "PASSWORD_IN_URL"),
    *("URL_BAD_ANSWER", "URL_NOT_ALLOWED", "URL_NOT_FOUND", "URL_TIMEOUT", "URL_UNREACHABLE", "URLS_DISABLED"),
    *("IDEMPOTENCY_KEY_REUSED", "FORM_TOO_LARGE", "TOO_MANY_FILES", "UPLOAD_TOO_LARGE", "QUEUE_FULL"),
    *(
        "QUOTA_BYTES",
        "QUOTA_DOCUMENTS",
        "BLOBS_UNAVAILABLE",
        "INGESTOR_UNAVAILABLE",
        "QUEUE_NOT_DURABLE",
        "QUEUE_UNAVAILABLE",
    ),
)
"""Why an upload is refused."""
_QUERY = ("name", "document_id", "title", "metadata", "request_id")

UPLOAD: schemas.Schema = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _FORM, "examples": _FORM_EXAMPLES},
            "application/json": {"schema": JsonBody.model_json_schema(), "examples": _EXAMPLES},
            "application/octet-stream": {
                "schema": {"type": "string", "format": "binary"},
                "examples": {"markdown": {"value": "# Keys\n\nRotate them monthly."}},
            },
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
