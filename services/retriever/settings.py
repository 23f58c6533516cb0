"""Settings of the retriever."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from rag.runtime.settings import ServiceSettings, prefix


class RetrieverSettings(ServiceSettings):
    """Where the index is and how it is searched."""

    model_config = prefix("RETRIEVER_")

    port: int = Field(50052, ge=0, le=65535, description="The gRPC port; 0 takes a free one.")
    metrics_port: int = Field(9102, ge=0, le=65535, description="The port of /metrics (HTTP); 0 opens none.")
    milvus_uri: str = Field(
        "",
        validation_alias="MILVUS_URI",
        description="A Milvus server, such as http://milvus:19530; empty keeps the index in the data folder.",
    )
    milvus_token: SecretStr = Field(
        SecretStr(""), validation_alias="MILVUS_TOKEN", description="The token for that server, such as user:password."
    )
    engine_linger_s: float = Field(
        30.0,
        ge=0,
        description="How long the engine of the index in the data folder outlives its retriever: one that is started again by "
        "then finds all passages loaded. 0 stops it at once; so it is under `ragmesh up`, unless this says otherwise.",
    )
    index_timeout_s: float = Field(10.0, gt=0, description="The longest that one operation of the index may take.")
    analyzer: Literal["multilingual", "plain"] = Field(
        "multilingual",
        description="How texts become words for the keyword search: by the rules of their language, or as they stand. "
        "Fixed when an index is made.",
    )
    next_embedder_address: str = Field(
        "",
        description="A second embedder, with the model of the index to come: new indexes are built for its model while the "
        "live one is searched with the other. Empty when there is one embedder only.",
    )
    keep_retired_s: float = Field(
        86_400.0, gt=0, description="How long an index is kept after another one replaced it, to go back to."
    )
    reconcile_s: float = Field(
        3_600.0, gt=0, description="How often the catalogue and the index are compared, beside once at the start."
    )
    sweep_pause_s: float = Field(
        20.0,
        gt=0,
        description="The least time between two removals of deleted bytes from files; the deletions of that time share one.",
    )
    cache_ttl_s: int = Field(600, ge=0, description="How long the ranking of a query is kept; 0 keeps none.")
    embed_timeout_s: float = Field(
        5.0,
        gt=0,
        description="How long a hybrid search waits for the vector of its query before it goes on by words alone, "
        "and never longer than half of the time that its caller has.",
    )
    catalogue_grace_s: float = Field(
        60.0,
        ge=0,
        description="How long searches go on with the last known state of the catalogue when Redis cannot be reached.",
    )
    rerank_url: str = Field(
        "",
        pattern="^(https?://.+)?$",
        description="Where a reranker takes requests, such as http://reranker:8080/rerank; empty for none.",
    )
    rerank_api: Literal["tei", "cohere", "jina"] = Field("tei", description="What the reranker speaks.")
    rerank_model: str = Field("", description="The reranker's model, for servers that have several.")
    rerank_api_key: SecretStr = Field(
        SecretStr(""), description="The key that the reranker asks for, sent as a bearer token."
    )
    rerank_candidates: int = Field(40, ge=1, le=200, description="How many of the passages found are ranked again.")
    rerank_timeout_s: float = Field(
        1.0,
        gt=0,
        description="How long the reranker may take, and never longer than half of the time that the caller has.",
    )
