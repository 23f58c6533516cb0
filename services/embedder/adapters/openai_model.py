"""A model behind an OpenAI-compatible /v1/embeddings endpoint."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from openai import APIError, AsyncOpenAI, Omit, omit
from openai.types import CreateEmbeddingResponse

from rag.runtime.errors import Internal, RagError
from rag.vectors import Vectors
from services.embedder.adapters.openai_errors import translate
from services.embedder.model import Encoded, ModelInfo, Piece

_BYTES_PER_TOKEN = 3
"""No tokenizer of the model is at hand, so a text counts as ceil(UTF-8 bytes / 3) tokens: an upper bound for prose."""


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


class OpenaiModel:
    """A remote model. Nothing that it answers is believed unchecked: count, order, dimension and every number are.

    Args:
        client: The SDK's client; its `max_retries` is the only retrying there is.
        options: What to ask for.
    """

    def __init__(self, client: AsyncOpenAI, options: OpenaiOptions) -> None:
        self._client = client
        self._options = options
        self._dimension = options.dimension

    async def describe(self) -> ModelInfo:
        """Return what the model is; the first time, ask it for one vector to learn the dimension."""
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
            RagError: what the endpoint's refusals mean, see `translate`.
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
        dimensions: int | Omit = options.dimension if options.ask_dimension and options.dimension else omit
        try:
            # Around the SDK's own timeout, which is for one attempt: a retry-after may ask for minutes.
            async with asyncio.timeout(options.timeout_s):
                return await self._client.embeddings.create(
                    model=options.model, input=texts, encoding_format="base64", dimensions=dimensions
                )
        except (APIError, TimeoutError) as error:
            raise translate(error) from error
        except ValueError as error:  # an answer that is not JSON
            raise _invalid("It cannot be read.") from error

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
