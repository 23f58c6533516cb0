"""Settings of the generator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from rag.runtime.settings import ServiceSettings, prefix
from services.generator.writing.pricing import Price


class Endpoint(BaseModel):
    """Where a language model is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str = Field(pattern="^[a-z0-9_-]{1,32}$")
    base_url: str = Field(pattern="^(https?://.+)?$")
    model: str = Field(min_length=1)
    api_key: SecretStr = SecretStr("")


def _from_json(value: object) -> object:
    """Return what a variable holds; a wrong one is never shown, it may hold a key."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None


def _known(value: object) -> object:
    """Return a price as it was given; a word written wrongly would make a wrong cost."""
    if isinstance(value, dict) and not value.keys() <= {"input", "output", "cached_input"}:
        raise ValueError("a price holds input, output and cached_input")
    return value


class GeneratorSettings(ServiceSettings):
    """What the generator reads, beside what every service reads."""

    model_config = prefix("GENERATOR_")

    port: int = Field(50_053, ge=0, le=65_535, description="The gRPC port; 0 takes a free one.")
    metrics_port: int = Field(9_103, ge=0, le=65_535, description="The port of /metrics (HTTP); 0 opens none.")
    provider: Literal["auto", "openai", "extractive"] = Field(
        "auto",
        description="Who writes answers: openai (a language model), extractive (sentences of the documents), or auto: "
        "openai when OPENAI_API_KEY or OPENAI_BASE_URL is set.",
    )
    openai_api_key: SecretStr = Field(
        SecretStr(""), validation_alias="OPENAI_API_KEY", description="The key of the OpenAI-compatible endpoint."
    )
    openai_base_url: str = Field(
        "",
        validation_alias="OPENAI_BASE_URL",
        description="The OpenAI-compatible endpoint, such as http://127.0.0.1:11434/v1; empty is OpenAI's own.",
    )
    model: str = Field("gpt-4o-mini", min_length=1, description="The language model, as its server calls it.")
    # Without a tokenizer a token is a byte, so this is about 1,600 tokens of English.
    passage_budget_tokens: int = Field(
        6_400,
        ge=300,
        le=1_000_000,
        description="How many tokens of passages a prompt holds; counted by GENERATOR_TOKENIZER, or else by an upper "
        "bound, the UTF-8 bytes.",
    )
    history_budget_tokens: int = Field(
        4_000,
        ge=0,
        le=1_000_000,
        description="How many tokens of the conversation a prompt holds, counted likewise; older turns are left out.",
    )
    tokenizer: Path | None = Field(
        None,
        description="The tokenizer.json of the language model, a file that counts its tokens; empty counts by an upper "
        "bound.",
    )
    templates: Path | None = Field(
        None,
        description="A folder whose answer.txt and standalone.txt replace our prompts; see docs/guides/prompts.md.",
    )
    standalone_timeout_ms: int = Field(
        3_000,
        ge=0,
        description="How long the language model may take to rewrite a question that follows others; 0 never asks it.",
    )
    top_k: int = Field(8, ge=1, le=100, description="How many passages are looked for when the question does not say.")
    # Measured with all-MiniLM-L6-v2: of 153 passages that hold the answer 2 % are below 0.25, and of 105 questions
    # about something else 65 % find nothing above it; the best passage of 100 fitting questions was never below 0.4.
    min_score: float = Field(
        0.25,
        ge=-1,
        le=1,
        description="The least cosine similarity of a relevant passage when the question does not say.",
    )
    max_tokens: int = Field(1_024, ge=1, le=8_192, description="The longest answer when the question does not say.")
    temperature: float = Field(
        0.2, ge=0, le=2, description="How freely the model words, when the question does not say."
    )
    connect_timeout_ms: int = Field(3_000, ge=1, description="How long connecting to the language model may take.")
    first_token_timeout_ms: int = Field(
        20_000, ge=1, description="How long the language model may take to its first text, retries included."
    )
    next_token_timeout_ms: int = Field(15_000, ge=1, description="How long the language model may pause in its answer.")
    parallel_answers: int = Field(
        200, ge=1, description="How many answers are written at the same time; more wait, and tenants take turns."
    )
    max_retries: int = Field(1, ge=0, le=5, description="How often a request to the language model is sent again.")
    fallbacks: Annotated[tuple[Endpoint, ...], NoDecode, BeforeValidator(_from_json)] = Field(
        (),
        description="Who writes when the first language model does not answer, in this order: a JSON list of objects with "
        "name, base_url, model and api_key (which may be left out).",
    )
    prices: Annotated[dict[str, Annotated[Price, BeforeValidator(_known)]], NoDecode, BeforeValidator(_from_json)] = (
        Field(
            {},
            description="What a million tokens cost, in US dollars, as JSON by the model's name, such as "
            '{"gpt-4o-mini": {"input": 0.15, "output": 0.6, "cached_input": 0.075}}; the last may be left out.',
        )
    )
    breaker_failures: int = Field(
        5, ge=1, description="After how many failures in a row a language model is left alone for a while."
    )
    breaker_slow_ms: int = Field(
        15_000,
        ge=1,
        description="How long a language model may take to its first text before that counts as a failure.",
    )
    breaker_pause_s: float = Field(
        60.0, gt=0, description="How long a language model that failed is left alone; then one question tries it."
    )

    cache_ttl_s: int = Field(
        14_400, ge=0, description="How long an answer is kept for whoever asks the same; 0 keeps none."
    )
    cache_ttls: Annotated[dict[str, Annotated[int, Field(ge=0)]], NoDecode, BeforeValidator(_from_json)] = Field(
        {},
        description='The same in seconds for single tenants, as JSON by their names, such as {"acme": 60, "beta": 0}.',
    )

    # Measured by `make eval-cache` with all-MiniLM-L6-v2: from here on the guards let no pair of different questions through, and
    # a lower one adds few hits. docs/decisions/0030 has the figures.
    semantic_threshold: float = Field(
        0.8,
        ge=0,
        le=1,
        description="The least cosine similarity of two questions that share an answer, when no guard objects; 0 turns it off.",
    )

    @model_validator(mode="after")
    def _check_provider(self) -> Self:
        if self.provider == "openai" and not self._has_endpoint():
            raise ValueError("GENERATOR_PROVIDER=openai needs OPENAI_API_KEY or OPENAI_BASE_URL")
        if self.provider != "extractive" and self.fallbacks and not self._has_endpoint():
            raise ValueError(
                "GENERATOR_FALLBACKS needs OPENAI_API_KEY or OPENAI_BASE_URL, for the model that is asked first"
            )
        return self

    @field_validator("fallbacks", mode="after")
    @classmethod
    def _check_names(cls, fallbacks: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
        names = ["openai", "extractive", *(endpoint.name for endpoint in fallbacks)]
        if len(set(names)) < len(names):
            raise ValueError("each name must differ from the others, and from openai and extractive")
        return fallbacks

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return where language models are asked, in this order; none when they are not used."""
        if not self.uses_model():
            return ()
        # Not checked again: the variables of the first are older than the rules for the others.
        first = Endpoint.model_construct(
            name="openai", base_url=self.openai_base_url, model=self.model, api_key=self.openai_api_key
        )
        return (first, *self.fallbacks)

    def ttl_s(self, tenant: str) -> int:
        """Return how long a tenant's answers are kept, in seconds."""
        return self.cache_ttls.get(tenant, self.cache_ttl_s)

    def uses_model(self) -> bool:
        """Tell whether a language model writes the answers."""
        return self.provider != "extractive" and self._has_endpoint()

    def _has_endpoint(self) -> bool:
        return bool(self.openai_api_key.get_secret_value() or self.openai_base_url)
