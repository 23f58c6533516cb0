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
    index_timeout_s: float = Field(10.0, gt=0, description="The longest that one operation of the index may take.")
    analyzer: Literal["english", "standard", "chinese"] = Field(
        "english",
        description="How texts become words for the keyword search; fixed when the index is first created.",
    )
    reconcile_s: float = Field(
        3_600.0, gt=0, description="How often the catalogue and the index are compared, beside once at the start."
    )
    sweep_pause_s: float = Field(
        20.0,
        gt=0,
        description="The least time between two removals of deleted bytes from files; the deletions of that time share one.",
    )
