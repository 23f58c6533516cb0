"""What a client says about a document: as JSON, in the query of raw bytes, in the fields of a form, in headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import orjson
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import Field, StrictStr, ValidationError, model_validator

from rag.metadata import to_proto
from rag.runtime.errors import InvalidInput
from rag.v1 import ingestor_pb2 as pb
from services.gateway.http.bodies import Body, Scalar
from services.gateway.http.multipart import FileHead

KEY_HEADER = "Idempotency-Key"
PASSWORD_HEADER = "X-Document-Password"  # noqa: S105 - the name of a header
_UNTITLED = "untitled.txt"
B = TypeVar("B", bound=Body)


class Header(Body):
    """What is said about a document beside its bytes."""

    name: StrictStr = Field("", description="The file's name, 1 to 255 characters.")
    document_id: StrictStr = Field("", description="Its id; an id that exists gets a new version.")
    title: StrictStr = Field("", description="Its title; empty to take the one found in it.")
    metadata: dict[str, Scalar] = Field({}, description="Your own data, for filters.")
    request_id: StrictStr = Field(
        "", description=f"As the header {KEY_HEADER}, which wins: the same id with the same content gives the same job."
    )
    password: StrictStr = Field("", repr=False, description=f"As the header {PASSWORD_HEADER}, which wins.")

    def to_proto(self) -> pb.SubmitDocumentHeader:
        """Return the header of the contract."""
        header = pb.SubmitDocumentHeader(
            document_id=self.document_id,
            name=self.name,
            title=self.title,
            request_id=self.request_id,
            password=self.password,
        )
        to_proto(self.metadata, header.metadata)
        return header


class JsonBody(Header):
    """A document as text, or where it is on the web."""

    name: StrictStr = Field(
        "", description=f"What to call it, 1 to 255 characters; {_UNTITLED} for a text, made from the URL for a URL."
    )
    text: StrictStr | None = Field(None, description="The text. Exactly one of `text` and `url` is given.")
    url: StrictStr | None = Field(
        None, description="An http or https URL of a public address. Off unless the server allows it."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.text is None) == (self.url is None):
            message = "give exactly one of text and url"
            raise ValueError(message)
        return self


@dataclass(frozen=True, slots=True)
class SentHeaders:
    """What the headers of an upload say: `request_id` from Idempotency-Key, and the document's password."""

    request_id: str
    password: str

    @classmethod
    def of(cls, request: Request) -> Self:
        """Read the headers of a request.

        Raises:
            InvalidInput: BAD_HEADER, PASSWORD_IN_URL.
        """
        if "password" in request.query_params:
            # URLs end up in the logs of every proxy on the way.
            message = f"A password must not stand in a URL: send it in the header {PASSWORD_HEADER}."
            raise InvalidInput(message, "PASSWORD_IN_URL")
        return cls(_header(request, KEY_HEADER), _header(request, PASSWORD_HEADER))

    def over(self, header: B, position: int = 1) -> B:
        """Return a header with these values in it, which win; the `position` counts the documents of the request."""
        changes = {"request_id": numbered(self.request_id, position), "password": self.password}
        return header.model_copy(update={name: value for name, value in changes.items() if value})


def numbered(request_id: str, count: int) -> str:
    """Return the id of the `count`-th upload that shares one: the first has the id itself, the second `id/2`."""
    return f"{request_id}/{count}" if request_id and count > 1 else request_id


def of_json(raw: bytes) -> JsonBody:
    """Return a JSON body."""
    body = _parse(JsonBody, _json(raw, "body"))
    return body.model_copy(update={"name": body.name or _UNTITLED}) if body.text is not None else body


def of_query(query: Mapping[str, str]) -> Header:
    """Return what the query of raw bytes says."""
    return _of_texts(query)


def of_file(head: FileHead) -> Header:
    """Return what a form says about one of its files.

    Raises:
        InvalidInput: DOCUMENT_ID_TWICE: an id names one document, so it counts for one file.
    """
    fields = {name: field.value for name, field in head.fields.items()}
    if fields.get("document_id") and head.fields["document_id"].since != head.position:
        message = "The document_id is that of the file before: send one for each file, or none at all."
        raise InvalidInput(message, "DOCUMENT_ID_TWICE", field="document_id")
    if "request_id" in fields:
        count = head.position - head.fields["request_id"].since + 1
        fields["request_id"] = numbered(fields["request_id"], count)
    return _of_texts({**fields, "name": head.name})


def _of_texts(fields: Mapping[str, str]) -> Header:
    if not fields.get("name"):
        raise InvalidInput("The file has no name; raw bytes take it from ?name=.", "NO_NAME", field="name")
    given: dict[str, Any] = {key: value for key, value in fields.items() if key != "metadata"}
    if fields.get("metadata"):
        given["metadata"] = _json(fields["metadata"].encode(), "metadata")
    return _parse(Header, given)


def _header(request: Request, name: str) -> str:
    """Read a header as UTF-8, which is what clients send; empty when it is not there."""
    raw = request.headers.get(name)
    if raw is None:
        return ""
    try:
        value = raw.encode("latin-1").decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"The header {name} is not valid UTF-8.", "BAD_HEADER", header=name) from error
    if not value:
        raise InvalidInput(f"The header {name} is empty.", "BAD_HEADER", header=name)
    return value


def _json(raw: bytes, field: str) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"{field} is not valid JSON: {error.msg}", "INVALID", field=field) from error


def _parse(kind: type[B], value: Any) -> B:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False, include_input=False)) from error
