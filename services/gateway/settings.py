"""Settings of the gateway."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator
from pydantic_core.core_schema import ValidationInfo
from pydantic_settings import NoDecode

from rag.runtime.loopback import is_loopback
from rag.runtime.settings import prefix
from services.gateway.access.settings import AccessSettings, listed

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-fA-F:.]+\](:[0-9]{1,5})?")


def _origins(value: object) -> object:
    found = listed(value)
    if isinstance(found, tuple) and (bad := next((one for one in found if not _ORIGIN.fullmatch(str(one))), None)):
        message = f"{bad!r} is no origin: scheme, host and port, such as https://chat.example.org; never *"
        raise ValueError(message)
    return found


class GatewaySettings(AccessSettings):
    """What the gateway reads: variables that start with `GATEWAY_`."""

    model_config = prefix("GATEWAY_")

    host: str = Field("127.0.0.1", description="The address that the gRPC port binds.")
    port: int = Field(50050, ge=0, le=65535, description="The gRPC port; 0 takes a free one.")
    http_host: str = Field("127.0.0.1", description="The address that the HTTP port binds.")
    http_port: int = Field(8080, ge=0, le=65535, description="The HTTP port; 0 takes a free one.")
    tenant: str = Field(
        "default", pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Whose calls all are while authentication is off."
    )
    unary_timeout_s: float = Field(30.0, gt=0, description="The longest that a REST call without a stream may take.")
    query_timeout_s: float = Field(120.0, gt=0, description="The longest that a question or a search may take.")
    upload_timeout_s: float = Field(
        600.0, gt=0, description="The longest that an upload may take, all its files together."
    )
    watch_timeout_s: float = Field(
        3600.0, gt=0, description="The longest that a job may be watched over one connection."
    )
    max_upload_bytes: int = Field(256 * 1024 * 1024, ge=1, description="The largest document.")
    max_files: int = Field(100, ge=1, description="How many files one form may upload.")
    max_form_bytes: int = Field(
        1024 * 1024 * 1024, ge=1, description="The largest form: all the files of one request together."
    )
    max_body_bytes: int = Field(
        2 * 1024 * 1024, ge=1, description="The largest JSON body, the text of a document in it included."
    )
    sse_ping_s: float = Field(15.0, gt=0, description="A comment is sent on an event stream that was silent this long.")
    sse_send_timeout_s: float = Field(
        30.0, gt=0, description="A reader of an event stream that takes nothing for this long is cut off."
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_origins)] = Field(
        (),
        description="The web pages that may call from a browser, with commas between: `https://chat.example.org`. None when empty.",
    )
    keep_alive_s: int = Field(30, ge=1, description="How long an idle HTTP connection is kept.")
    limit_requests_per_minute: int = Field(
        6_000,
        ge=0,
        description="How many calls a tenant may make in a minute; 0 for any number. So are the limits below.",
    )
    limit_burst_requests: int = Field(0, ge=0, description="How many of them may come at once; 0 for a minute's.")
    limit_streams: int = Field(64, ge=0, description="How many streams a tenant may have open at the same time.")
    limit_tokens_per_day: int = Field(
        0, ge=0, description="How many tokens of language models a tenant may use in a day of UTC, in and out together."
    )
    limit_cost_usd_per_day: float = Field(0.0, ge=0, description="What these may cost, in US dollars.")
    limit_documents: int = Field(0, ge=0, description="How many documents a tenant may store.")
    limit_stored_bytes: int = Field(0, ge=0, description="How many bytes the uploads of these may have together.")
    limit_upload_bytes: int = Field(
        0, ge=0, description="How many bytes one upload may have, beside the largest document."
    )
    limit_reserve_tokens: int = Field(
        20_000,
        ge=1,
        description="What an answer that is being written holds of the day's tokens: the most that one takes.",
    )
    limit_reserve_cost_usd: float = Field(
        0.02, gt=0, description="The same of the day's cost, in US dollars; more when an answer of today took more."
    )
    limit_patience_ms: float = Field(
        50.0,
        gt=0,
        description="How long a call waits for Redis to check its limits; then this process counts by itself.",
    )
    limits_file: Path | None = Field(
        None,
        description='Other limits for some tenants: a JSON file such as {"acme": {"requests_per_minute": 60}}. It is read '
        "again when it changes.",
    )

    # Last, because it is checked against the addresses above.
    auth: Literal["on", "off"] = Field(
        "on",
        description="Whether callers need an API key or a token; off only while both ports bind this machine alone.",
    )

    @field_validator("auth")
    @classmethod
    def _off_on_this_machine_only(cls, value: str, info: ValidationInfo) -> str:
        for field in ("host", "http_host"):
            address = info.data.get(field, "127.0.0.1")
            if value == "off" and not is_loopback(address):
                message = (
                    f"GATEWAY_{field.upper()}={address} can be reached from other machines, and nobody would be asked "
                    "who they are; bind 127.0.0.1, or leave GATEWAY_AUTH on and make keys with `ragmesh keys create`"
                )
                raise ValueError(message)
        return value
