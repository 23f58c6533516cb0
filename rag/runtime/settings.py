"""Settings of all services: environment variables and `.env`, read here and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from rag.runtime.signing_secret import SigningSecret


class SettingsError(Exception):
    """A variable is wrong; the text names it."""


def prefix(name: str) -> SettingsConfigDict:
    """Return the configuration of settings whose variables start with `name`."""
    return SettingsConfigDict(
        env_prefix=name, env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, populate_by_name=True
    )


class SharedSettings(BaseSettings):
    """What every process of the mesh reads; the names carry no prefix of a service."""

    model_config = prefix("RAG_")

    data_dir: Path = Field(
        Path("./.ragmesh"),
        validation_alias="RAG_DATA_DIR",
        description="Folder of everything that is kept on this machine: index, uploads, models, the embedded Redis.",
    )
    log_format: Literal["console", "json"] = Field(
        "console", validation_alias="RAG_LOG_FORMAT", description="Log lines for people (console) or programs (json)."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", validation_alias="RAG_LOG_LEVEL", description="The least severe line that is logged."
    )
    failpoint: str = Field(
        "",
        pattern="^([a-z_]+:[1-9][0-9]{0,5}(:stop)?)?$",
        validation_alias="RAG_FAILPOINT",
        description="For tests: the process kills itself when it reaches this point for the n-th time, as `name:n`, "
        "or is stopped there, as `name:n:stop`.",
    )
    mesh_secret: SigningSecret = Field(
        SecretStr(""),
        validation_alias="RAG_MESH_SECRET",
        description="Shared by all services, at least 32 bytes: each call among them then carries a signed word about its "
        "caller, and one without is refused.",
    )
    tls_certificate_file: Path | None = Field(
        None,
        validation_alias="RAG_TLS_CERTIFICATE_FILE",
        description="Certificate (PEM) that this service shows to the others and asks of them, with the two below.",
    )
    tls_key_file: Path | None = Field(
        None, validation_alias="RAG_TLS_KEY_FILE", description="Private key (PEM) of that certificate."
    )
    tls_authority_file: Path | None = Field(
        None,
        validation_alias="RAG_TLS_AUTHORITY_FILE",
        description="Certificate (PEM) of the authority that signed those of all services.",
    )
    otlp_endpoint: str = Field(
        "",
        validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="Where traces are sent (OTLP over gRPC); empty sends none.",
    )


class ServiceSettings(SharedSettings):
    """What every service reads: where it listens, how much it takes on, how it stops, where the others are."""

    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        validation_alias="REDIS_URL",
        description="The Redis that holds caches, queue and catalogue; `ragmesh up` starts one when it is not set.",
    )
    embedder_address: str = Field(
        "127.0.0.1:50051", validation_alias="EMBEDDER_ADDRESS", description="Where the others reach the embedder."
    )
    retriever_address: str = Field(
        "127.0.0.1:50052", validation_alias="RETRIEVER_ADDRESS", description="Where the others reach the retriever."
    )
    generator_address: str = Field(
        "127.0.0.1:50053", validation_alias="GENERATOR_ADDRESS", description="Where the others reach the generator."
    )
    ingestor_address: str = Field(
        "127.0.0.1:50054", validation_alias="INGESTOR_ADDRESS", description="Where the others reach the ingestor."
    )
    host: str = Field("127.0.0.1", description="The address that the gRPC and metrics ports bind.")
    port: int = Field(0, ge=0, le=65535, description="The gRPC port; 0 takes a free one.")
    metrics_port: int = Field(0, ge=0, le=65535, description="The port of /metrics (HTTP); 0 opens none.")
    max_concurrent_calls: int = Field(
        256, ge=1, description="Calls served at once; one more is refused with RESOURCE_EXHAUSTED."
    )
    call_timeout_s: float = Field(
        3_600.0, gt=0, description="The longest that a call may take; also the deadline of a call that brings none."
    )
    lame_duck_ms: int = Field(
        200, ge=0, description="After SIGTERM: how long the service says NOT_SERVING and still takes calls."
    )
    drain_grace_ms: int = Field(5_000, ge=0, description="After that: how long running calls may take to finish.")


S = TypeVar("S", bound=BaseSettings)


def load(kind: type[S]) -> S:
    """Read settings of one kind.

    Raises:
        SettingsError: naming each wrong variable and what is wrong with it.
    """
    try:
        return kind()
    except ValidationError as error:
        raise SettingsError("; ".join(_sentence(kind, e["loc"], e["msg"]) for e in error.errors())) from error


def variables(kind: type[BaseSettings]) -> Mapping[str, str]:
    """Return the variable of each field of `kind`, as `{field: VARIABLE}`."""
    return {name: _variable(kind, name) for name in kind.model_fields}


def child_environment(**changes: str) -> dict[str, str]:
    """Return this process's environment with some variables changed, for a child process."""
    return {**os.environ, **changes}


def _sentence(kind: type[BaseSettings], location: tuple[int | str, ...], message: str) -> str:
    # A check of several settings together has no location; its message names them. The values are never shown.
    return f"{_variable(kind, str(location[0]))}: {message}" if location else message


def _variable(kind: type[BaseSettings], name: str) -> str:
    field = kind.model_fields.get(name)
    if field is None:  # pydantic names an aliased field by its alias
        return name
    alias = field.validation_alias
    return alias if isinstance(alias, str) else f"{kind.model_config.get('env_prefix', '')}{name}".upper()
