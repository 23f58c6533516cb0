"""What the commands for operators read from the environment."""

from __future__ import annotations

from pydantic import Field, SecretStr

from rag.runtime.settings import SharedSettings, prefix
from rag.runtime.signing_secret import SigningSecret


class OperatorSettings(SharedSettings):
    """What the commands for operators read beside their options."""

    model_config = prefix("RAG_")

    redis_url: str = Field("", validation_alias="REDIS_URL", description="As for the services.")
    milvus_uri: str = Field("", validation_alias="MILVUS_URI", description="As for the retriever.")
    retriever_address: str = Field("127.0.0.1:50052", validation_alias="RETRIEVER_ADDRESS", description="As for all.")
    blobs_url: str = Field("", validation_alias="INGESTOR_BLOBS_URL", description="As for the ingestor.")
    key_pepper: SigningSecret = Field(
        SecretStr(""), validation_alias="RAG_KEY_PEPPER", description="As for the gateway."
    )
