"""The settings of the ingestor."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator

from rag.runtime.settings import ServiceSettings, prefix
from services.ingestor.splitting import MAX_PASSAGE_TOKENS

_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


class IngestorSettings(ServiceSettings):
    """What the ingestor reads from `INGESTOR_*`."""

    model_config = prefix("INGESTOR_")

    port: int = Field(50054, ge=0, le=65535, description="The gRPC port; 0 takes a free one.")
    metrics_port: int = Field(9104, ge=0, le=65535, description="The port of /metrics (HTTP); 0 opens none.")
    max_upload_bytes: int = Field(200 * 1024 * 1024, ge=1, description="The largest upload accepted.")
    blobs_url: str = Field(
        "", description="Where uploads lie until indexed: any fsspec URL; empty for the folder blobs in RAG_DATA_DIR."
    )
    require_aof: bool = Field(
        default=True,
        description="Refuse uploads unless Redis says it has an append-only file; false for a managed Redis that does "
        "not tell.",
    )
    max_queued: int = Field(
        10_000, ge=1, description="How many documents may wait or be worked on; uploads beyond it are refused."
    )
    concurrency: int = Field(2, ge=1, le=32, description="Documents indexed at once by one process.")
    spare: int = Field(
        4, ge=0, le=16, description="Documents at most that may have lent their place because their parser is slow."
    )
    lease_ms: int = Field(10_000, ge=100, description="A worker silent for this long loses its job to another.")
    heartbeat_ms: int = Field(1_000, ge=10, description="How often a worker says that it is still at a job.")
    max_attempts: int = Field(3, ge=1, description="How many workers may break off a job before it is given up.")
    job_deadline_s: float = Field(1_800.0, gt=0, description="The longest that one attempt may take, waits included.")
    job_keep_s: int = Field(
        7 * 24 * 3600, ge=60, le=7 * 24 * 3600, description="How long a finished job can be looked up."
    )
    reconcile_s: float = Field(
        300.0, ge=1, description="How often uploads, jobs and queue are compared and repaired; at the start too."
    )
    progress_ms: int = Field(250, ge=10, description="The least time between two events of progress.")
    passage_tokens: int = Field(220, ge=16, le=MAX_PASSAGE_TOKENS, description="The longest passage.")
    passage_overlap_tokens: int = Field(40, ge=0, description="How much of a passage the next one repeats at most.")
    embed_batch_tokens: int = Field(4_096, ge=256, description="How many tokens are embedded in one call at most.")
    embed_timeout_s: float = Field(120.0, gt=0, description="The longest that one call of the embedder may take.")
    parser_memory_bytes: int = Field(
        512 * 1024**2,
        ge=64 * 1024**2,
        description="How much address space the process that reads one document may take beside what it begins with.",
    )
    parser_cpu_s: float = Field(
        10.0, ge=1, description="The CPU time that reading one document may take before its first page is read."
    )
    parser_cpu_page_s: float = Field(
        0.3, ge=0, description="The CPU time granted for each page read, so that long documents may take longer."
    )
    parser_cpu_most_s: int = Field(900, ge=1, description="The CPU time that reading any document may take in all.")
    parser_wait_s: float = Field(
        120.0, gt=0, description="The longest wait for one page of a document, before the document is given up."
    )

    urls_enabled: bool = Field(default=False, description="Take documents in by their URL too.")
    url_timeout_s: float = Field(60.0, gt=0, description="The longest that fetching a document may take.")
    url_private_networks: str = Field(
        "",
        description="Networks that URLs may lead to although they are not public, as 10.1.0.0/16,fd00::/8; empty for none.",
    )
    webhook_url: str = Field("", description="Called with a signed POST when a job ends; empty calls nobody.")
    webhook_secret: SecretStr = Field(
        SecretStr(""),
        description="The key of the signatures (Standard Webhooks): whsec_ and base64, or any text of 24 characters or more.",
    )

    @property
    def url_networks(self) -> Sequence[IPv4Network | IPv6Network]:
        """The networks of `url_private_networks`."""
        return [ip_network(part.strip()) for part in self.url_private_networks.split(",") if part.strip()]

    @model_validator(mode="after")
    def _webhook_is_whole(self) -> Self:
        secret = self.webhook_secret.get_secret_value()
        if self.webhook_url and len(secret) < 24:
            message = "INGESTOR_WEBHOOK_SECRET must have at least 24 characters when INGESTOR_WEBHOOK_URL is set"
            raise ValueError(message)
        if secret.startswith("whsec_") and not _BASE64.fullmatch(secret.removeprefix("whsec_")):
            raise ValueError("INGESTOR_WEBHOOK_SECRET must be base64 after whsec_")
        return self

    @field_validator("url_private_networks")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        for part in filter(None, map(str.strip, value.split(","))):
            ip_network(part)
        return value

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.passage_overlap_tokens > self.passage_tokens // 2:
            raise ValueError("INGESTOR_PASSAGE_OVERLAP_TOKENS must be at most half of INGESTOR_PASSAGE_TOKENS")
        if self.heartbeat_ms * 2 > self.lease_ms:
            raise ValueError("INGESTOR_HEARTBEAT_MS must be at most half of INGESTOR_LEASE_MS")
        return self
