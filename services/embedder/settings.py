"""Settings of the embedder."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from rag.runtime.settings import ServiceSettings, prefix


class EmbedderSettings(ServiceSettings):
    """What the embedder reads from the environment."""

    model_config = prefix("EMBEDDER_")

    port: int = Field(50051, ge=0, le=65535, description="The gRPC port; 0 takes a free one.")
    metrics_port: int = Field(9101, ge=0, le=65535, description="The port of /metrics (HTTP); 0 opens none.")
    provider: Literal["local", "openai"] = Field(
        "local", description="Where vectors come from: the model in this process, or an OpenAI-compatible endpoint."
    )
    precision: Literal["int8", "fp32"] = Field(
        "int8",
        description="What the local model computes in. Vectors of the two are not compared with each other: an index "
        "has to be rebuilt after a change.",
    )
    threads: int = Field(2, ge=1, le=64, description="Processor threads for one run of the local model.")
    batch_tokens: int = Field(
        512,
        ge=256,
        le=16_384,
        description="The most tokens, padding included, in one run of the local model. More is not faster on a "
        "processor, and makes a question wait longer behind a document.",
    )
    batch_patience_ms: float = Field(
        3.0, ge=0, le=1_000, description="How long a text waits for company after a run that callers shared."
    )
    queue_tokens: int = Field(
        262_144, ge=256, description="How many tokens may wait for the model; callers beyond are refused."
    )
    cache_bytes: int = Field(64 << 20, ge=0, description="Memory for vectors kept in this process.")
    cache_age_s: float = Field(
        45.0,
        gt=0,
        le=3_600,
        description="How long a vector in this memory is used before Redis is asked for it again: "
        "until then one that another process was told to forget may still be here.",
    )
    model: str = Field("text-embedding-3-small", min_length=1, description="The endpoint's model (provider openai).")
    openai_revision: str = Field(
        "1",
        min_length=1,
        description="Change it when the endpoint changes the model behind its name: cached vectors of another revision "
        "are not used.",
    )
    openai_dimension: int = Field(
        0, ge=0, le=65_536, description="How many numbers the endpoint's vectors must have; 0 learns it."
    )
    openai_ask_dimension: bool = Field(
        default=False, description="Ask the endpoint for that dimension; only some models can shorten their vectors."
    )
    openai_max_input_tokens: int = Field(
        8_192, ge=1, description="Where texts for the endpoint are cut; three UTF-8 bytes count as a token."
    )
    openai_batch_tokens: int = Field(100_000, ge=1, description="The most tokens in one request to the endpoint.")
    openai_batch_texts: int = Field(256, ge=1, le=2_048, description="The most texts in one request to the endpoint.")
    openai_parallel: int = Field(4, ge=1, le=64, description="Requests to the endpoint that go on at once.")
    openai_timeout_s: float = Field(
        30.0, gt=0, le=600, description="How long one request to the endpoint may take, its retries included."
    )
    openai_retries: int = Field(
        2,
        ge=0,
        le=10,
        description="How often a failed request to the endpoint is repeated; one that was refused for too many "
        "requests is not.",
    )
    openai_api_key: SecretStr = Field(
        SecretStr(""), validation_alias="OPENAI_API_KEY", description="The key of the OpenAI-compatible endpoint."
    )
    openai_base_url: str = Field(
        "",
        validation_alias="OPENAI_BASE_URL",
        description="The OpenAI-compatible endpoint, such as http://127.0.0.1:11434/v1; empty is OpenAI's own.",
    )
