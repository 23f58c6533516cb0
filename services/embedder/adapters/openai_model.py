"""A model behind an OpenAI-compatible /v1/embeddings endpoint."""

from __future__ import annotations

import asyncio
import base64
import binascii
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from openai import APIError, AsyncOpenAI, Omit, omit
from openai.types import CreateEmbeddingResponse

from rag.runtime.backoff import retrying
from rag.runtime.errors import Internal, Overloaded, RagError, Unavailable
from rag.runtime.wordless import wordless
from rag.vectors import Vectors
from services.embedder import metrics
from services.embedder.adapters.openai_errors import translate
from services.embedder.model import Encoded, ModelInfo, Piece

_BYTES_PER_TOKEN = 3
"""No tokenizer of the model is at hand, so a text counts as ceil(UTF-8 bytes / 3) tokens: an upper bound for prose."""

_FIRST_PAUSE_S = 0.25
_MOST_PAUSE_S = 8.0


@dataclass(frozen=True, slots=True)
class OpenaiOptions:
    """What the endpoint is asked for."""

    model: str
    revision: str
    dimension: int
    """What the vectors must have; 0 learns it from the first answer."""
    ask_dimension: bool
    max_input_tokens: int
    timeout_s: float
    """For one run with all its retries, in seconds."""
    retries: int
    """How often a request is tried again after a failure that may pass."""


class Cooldown(Protocol):
    """The time in which an endpoint that refused a request for too much to do is left alone, by all processes."""

    async def left_s(self) -> float:
        """Return the seconds left; 0 when there is none. Never raises."""

    async def begin(self, seconds: float) -> None:
        """Begin one, or prolong it; one that lasts longer stays as it is. Never raises."""


class OpenaiModel:
    """A remote model. Nothing that it answers is believed unchecked: count, order, dimension and every number are.

    Args:
        client: The SDK's client; it must not retry by itself.
        options: What to ask for.
        cooldown: Of the endpoint.
        random_unit: A number in [0, 1).
    """

    def __init__(
        self,
        client: AsyncOpenAI,
        options: OpenaiOptions,
        cooldown: Cooldown,
        random_unit: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._options = options
        self._cooldown = cooldown
        self._random_unit = random_unit
        self._dimension = options.dimension
        self._learning = asyncio.Lock()

    async def describe(self) -> ModelInfo:
        """Return what the model is; the first time, ask it for one vector to learn the dimension."""
        if not self._dimension:
            async with self._learning:
                if not self._dimension:
                    await self.encode(await self.prepare(["How long is a vector?"]))
        options = self._options
        return ModelInfo(options.model, options.revision, self._dimension, options.max_input_tokens, "openai")

    async def prepare(self, texts: Sequence[str]) -> Sequence[Piece]:
        """Cut each text at the limit, never inside a character."""
        return [self._cut(text) for text in texts]

    async def encode(self, pieces: Sequence[Piece]) -> Encoded:
        """Ask for all vectors in one request.

        Raises:
            RagError: what the endpoint's refusals mean, see `translate`. A text that is too long, or texts that are too
                many, are an InvalidInput; while the endpoint is left alone it is Overloaded, MODEL_RATE_LIMITED.
            Internal: EMBEDDING_INVALID.
        """
        response = await self._ask([piece.content for piece in pieces])
        try:
            vectors = _vectors(response, len(pieces))
        except (ValueError, TypeError, AttributeError, KeyError, binascii.Error) as error:
            raise _invalid("It is not a list of vectors.") from error
        self._check_dimension(vectors.shape[1])
        usage = response.usage.prompt_tokens if response.usage else 0
        return Encoded(_normalised(vectors), usage or sum(piece.tokens for piece in pieces))

    async def _ask(self, texts: list[str]) -> CreateEmbeddingResponse:
        options = self._options
        try:
            # Around the client's own timeout, which is for one attempt.
            async with asyncio.timeout(options.timeout_s):
                return await retrying(
                    lambda: self._attempt(texts),
                    lambda error: isinstance(error, Unavailable),
                    _FIRST_PAUSE_S,
                    _MOST_PAUSE_S,
                    attempts=1 + options.retries,
                    before_pause=lambda _error, _pause_s: metrics.RETRIES.inc(),
                    random_unit=self._random_unit,
                )
        except TimeoutError as error:
            raise translate(error) from error

    async def _attempt(self, texts: list[str]) -> CreateEmbeddingResponse:
        left_s = await self._cooldown.left_s()
        if left_s > 0:
            raise self._rate_limited(left_s)
        options = self._options
        dimensions: int | Omit = options.dimension if options.ask_dimension and options.dimension else omit
        try:
            return await self._client.embeddings.create(
                model=options.model, input=texts, encoding_format="base64", dimensions=dimensions
            )
        except APIError as error:
            raise await self._heeded(translate(error)) from wordless(error)
        except ValueError as error:  # an answer that is not JSON
            raise _invalid("It cannot be read.") from error

    async def _heeded(self, error: RagError) -> RagError:
        """Return the error to raise, after the cooldown that it asks for has begun."""
        if not isinstance(error, Overloaded):
            return error
        metrics.COOLDOWNS.inc()
        await self._cooldown.begin(error.retry_after_s)
        return self._rate_limited(error.retry_after_s)

    def _rate_limited(self, left_s: float) -> RagError:
        # A little later than the end: not all who wait shall come at the same moment.
        wait_s = left_s + self._random_unit() * min(2.0, 0.1 + 0.1 * left_s)
        return Overloaded("The embedding endpoint has too much to do.", "MODEL_RATE_LIMITED", wait_s)

    def _check_dimension(self, dimension: int) -> None:
        if self._dimension and dimension != self._dimension:
            raise _invalid(f"It has vectors of {dimension} numbers where {self._dimension} are expected.")
        self._dimension = dimension

    def _cut(self, text: str) -> Piece:
        data = text.encode()
        limit = self._options.max_input_tokens * _BYTES_PER_TOKEN
        truncated = len(data) > limit
        if truncated:
            # Without its leading blanks, or a text that begins with many would be cut to nothing but blanks.
            text = data.lstrip()[:limit].decode(errors="ignore")
        return Piece(text, -(-min(len(data), limit) // _BYTES_PER_TOKEN), truncated)


def _vectors(response: CreateEmbeddingResponse, count: int) -> Vectors:
    by_index = {item.index: _decode(item.embedding) for item in response.data}
    if len(response.data) != count or by_index.keys() != set(range(count)):
        raise _invalid(f"It has {len(response.data)} vectors for {count} texts, or not one for each.")
    vectors = np.stack([by_index[index] for index in range(count)])
    if vectors.ndim != 2 or not vectors.shape[1]:
        raise _invalid("It is not a list of vectors.")
    return vectors


def _decode(embedding: Any) -> Vectors:
    # Asked for base64; servers that do not know it answer a list.
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4")
    return np.asarray(embedding, dtype=np.float32)


def _normalised(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise _invalid("It has a vector that is not finite, or is zero.")
    normalised: Vectors = (vectors / lengths).astype(np.float32)
    return normalised


def _invalid(what: str) -> RagError:
    return Internal(f"The embedding endpoint's answer cannot be used. {what}", "EMBEDDING_INVALID")
