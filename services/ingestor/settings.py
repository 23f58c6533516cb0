"""The settings of the ingestor."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from rag.runtime.settings import ServiceSettings, prefix
from services.ingestor.splitting import MAX_PASSAGE_TOKENS


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
    concurrency: int = Field(2, ge=1, le=64, description="Documents indexed at once by one process.")
    lease_ms: int = Field(10_000, ge=100, description="A worker silent for this long loses its job to another.")
    heartbeat_ms: int = Field(3_000, ge=10, description="How often a worker says that it is still at a job.")
    max_attempts: int = Field(3, ge=1, description="How many workers may break off a job before it fails.")
    job_deadline_s: float = Field(1_800.0, gt=0, description="The longest that one attempt may take, waits included.")
    job_keep_s: int = Field(7 * 24 * 3600, ge=60, description="How long a finished job can be looked up.")
    progress_ms: int = Field(250, ge=10, description="The least time between two events of progress.")
    passage_tokens: int = Field(220, ge=16, le=MAX_PASSAGE_TOKENS, description="The longest passage.")
    passage_overlap_tokens: int = Field(40, ge=0, description="How much of a passage the next one repeats at most.")
    embed_batch_tokens: int = Field(4_096, ge=256, description="How many tokens are embedded in one call at most.")
    embed_timeout_s: float = Field(120.0, gt=0, description="The longest that one call of the embedder may take.")
    parser_memory_bytes: int = Field(
        1024**3, ge=128 * 1024**2, description="The address space of the process that reads one document."
    )
    parser_cpu_s: int = Field(60, ge=1, description="The CPU time that reading one document may take.")
    parser_wait_s: float = Field(
        120.0, gt=0, description="The time that reading one document may take, not counting waits for later stages."
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.passage_overlap_tokens > self.passage_tokens // 2:
            raise ValueError("INGESTOR_PASSAGE_OVERLAP_TOKENS must be at most half of INGESTOR_PASSAGE_TOKENS")
        if self.heartbeat_ms * 2 > self.lease_ms:
            raise ValueError("INGESTOR_HEARTBEAT_MS must be at most half of INGESTOR_LEASE_MS")
        return self
