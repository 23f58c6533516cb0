"""Settings of the gateway."""

from __future__ import annotations

import ipaddress

from pydantic import Field, field_validator
from pydantic_core.core_schema import ValidationInfo

from rag.runtime.settings import ServiceSettings, prefix


class GatewaySettings(ServiceSettings):
    """What the gateway reads: variables that start with `GATEWAY_`."""

    model_config = prefix("GATEWAY_")

    host: str = Field("127.0.0.1", description="The address that the gRPC port binds.")
    port: int = Field(50050, ge=0, le=65535, description="The gRPC port; 0 takes a free one.")
    http_host: str = Field("127.0.0.1", description="The address that the HTTP port binds.")
    http_port: int = Field(8080, ge=0, le=65535, description="The HTTP port; 0 takes a free one.")
    tenant: str = Field(
        "default", pattern=r"^[A-Za-z0-9_-]{1,64}$", description="The tenant of every call that comes in by this door."
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
    keep_alive_s: int = Field(30, ge=1, description="How long an idle HTTP connection is kept.")

    # Last, because it is checked against the addresses above.
    allow_unauthenticated: bool = Field(
        default=False,
        validate_default=True,
        description="Listen on an address that other machines reach although nobody is asked who they are.",
    )

    @field_validator("allow_unauthenticated")
    @classmethod
    def _reachable_only_on_purpose(cls, value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic calls it
        for field in ("host", "http_host"):
            address = info.data.get(field, "127.0.0.1")
            if not value and not is_loopback(address):
                message = (
                    f"GATEWAY_{field.upper()}={address} can be reached from other machines and nobody is asked who they are; "
                    "set GATEWAY_ALLOW_UNAUTHENTICATED=true to allow that, or bind 127.0.0.1"
                )
                raise ValueError(message)
        return value


def is_loopback(host: str) -> bool:
    """Tell whether an address can be reached from this machine only."""
    if host == "localhost" or host.startswith("unix:"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
