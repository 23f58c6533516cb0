"""Settings of who comes in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from rag.runtime.loopback import is_loopback
from rag.runtime.settings import ServiceSettings, prefix
from rag.runtime.signing_secret import SigningSecret
from services.gateway.access.proxies import Network


def listed(value: object) -> object:
    """Return a setting that lists things, with commas or spaces between them, as a tuple."""
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


class AccessSettings(ServiceSettings):
    """What the gateway reads to know its callers."""

    model_config = prefix("GATEWAY_")

    key_pepper: SigningSecret = Field(
        SecretStr(""),
        validation_alias="RAG_KEY_PEPPER",
        description="What API keys are hashed with, at least 32 bytes; by default a file in RAG_DATA_DIR that is made once. "
        "Gateways on several machines need the same one, and so does `ragmesh keys`.",
    )
    bad_credentials_per_min: int = Field(
        600,
        ge=1,
        description="How many bad keys and tokens may come from one address in a minute; more are not looked at.",
    )
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(listed)] = Field(
        (),
        description="Addresses or networks, with commas between, of proxies that are believed when they say where a caller is "
        "(`X-Forwarded-For`). Without it all callers behind a proxy are one.",
    )
    jwt_secret: SigningSecret = Field(
        SecretStr(""),
        description="Takes JSON Web Tokens that are signed with this secret (HS256), at least 32 bytes.",
    )
    jwt_jwks_file: Path | None = Field(
        None, description="Takes tokens that are signed with a key whose public half is in this file (a JWK set)."
    )
    jwt_jwks_url: str = Field(
        "",
        description="Takes tokens that are signed with a key whose public half is at this https address (a JWK set).",
    )
    jwt_algorithm: Literal["RS256", "ES256"] = Field(
        "RS256", description="The one algorithm of tokens that are signed with a key of the JWK set."
    )
    jwt_issuer: str = Field("", description="The `iss` that every token must have.")
    jwt_audience: str = Field("", description="What `aud` of every token must name.")
    jwt_tenant_claim: str = Field("tenant", min_length=1, description="The claim that names the tenant.")
    jwt_scope_claim: str = Field(
        "scope",
        min_length=1,
        description="The claim that names what a caller may: query, ingest, admin, with spaces between them or as a list.",
    )
    jwt_leeway_s: float = Field(10.0, ge=0, le=300, description="How far the clocks of token makers may be from ours.")

    @field_validator("jwt_jwks_url")
    @classmethod
    def _safe(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and not (parts.hostname and (parts.scheme == "https" or _is_http_here(parts.scheme, parts.hostname))):
            message = "keys that decide who comes in are only fetched by https, or by http from this machine"
            raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _one_signer(self) -> Self:
        secret = self.jwt_secret.get_secret_value()
        signers = {
            "GATEWAY_JWT_SECRET": secret,
            "GATEWAY_JWT_JWKS_FILE": self.jwt_jwks_file,
            "GATEWAY_JWT_JWKS_URL": self.jwt_jwks_url,
        }
        given = [name for name, value in signers.items() if value]
        if len(given) > 1:
            message = f"{' and '.join(given)}: tokens are signed in one way; set one of them"
            raise ValueError(message)
        wanted = {"GATEWAY_JWT_ISSUER": self.jwt_issuer, "GATEWAY_JWT_AUDIENCE": self.jwt_audience}
        missing = [name for name, value in wanted.items() if not value]
        if given and missing:
            message = f"{' and '.join(missing)} must be set with {given[0]}: a token for somebody else would be taken"
            raise ValueError(message)
        if secret and secret == self.mesh_secret.get_secret_value():
            message = "GATEWAY_JWT_SECRET must not be RAG_MESH_SECRET: who signs tokens would speak as a service"
            raise ValueError(message)
        return self


def _is_http_here(scheme: str, host: str) -> bool:
    return scheme == "http" and is_loopback(host)
