"""What `ragmesh doctor` reads: the settings by which the services find what they need."""

from __future__ import annotations

from pydantic import Field, SecretStr

from rag.cli.operator_settings import OperatorSettings
from rag.runtime.settings import prefix


class DoctorSettings(OperatorSettings):
    """Settings of several services, as far as a look from outside can tell whether they are right."""

    model_config = prefix("RAG_")

    gateway_host: str = Field("127.0.0.1", validation_alias="GATEWAY_HOST", description="As for the gateway.")
    gateway_port: int = Field(50050, validation_alias="GATEWAY_PORT", description="As for the gateway.")
    gateway_http_host: str = Field("127.0.0.1", validation_alias="GATEWAY_HTTP_HOST", description="As for the gateway.")
    gateway_http_port: int = Field(8080, validation_alias="GATEWAY_HTTP_PORT", description="As for the gateway.")
    embedder_port: int = Field(50051, validation_alias="EMBEDDER_PORT", description="As for the embedder.")
    retriever_port: int = Field(50052, validation_alias="RETRIEVER_PORT", description="As for the retriever.")
    generator_port: int = Field(50053, validation_alias="GENERATOR_PORT", description="As for the generator.")
    ingestor_port: int = Field(50054, validation_alias="INGESTOR_PORT", description="As for the ingestor.")
    openai_api_key: SecretStr = Field(SecretStr(""), validation_alias="OPENAI_API_KEY", description="As for all.")
    openai_base_url: str = Field("", validation_alias="OPENAI_BASE_URL", description="As for all.")

    def ports(self) -> list[tuple[str, str, int]]:
        """Return variable, host and number of each port that the services listen on."""
        rooms = ("embedder", "retriever", "generator", "ingestor")
        return [
            ("GATEWAY_HTTP_PORT", self.gateway_http_host, self.gateway_http_port),
            ("GATEWAY_PORT", self.gateway_host, self.gateway_port),
            *((f"{room.upper()}_PORT", "127.0.0.1", getattr(self, f"{room}_port")) for room in rooms),
        ]
