"""Which embedder is asked: the one whose model the index holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rag.runtime.errors import FailedPrecondition, RagError
from rag.runtime.logs import get_logger
from rag.vectors import Vectors
from services.retriever.passages import Model, check_model

log = get_logger(__name__)


class Embedder(Protocol):
    """One embedder."""

    async def model(self) -> Model:
        """Return the model that it serves; Unavailable while it is away."""

    async def embed(self, text: str, wanted: Model) -> Vectors:
        """Return the vector, shape (dimension,), of the model wanted; FailedPrecondition when it has another."""

    async def embed_passages(self, tenant: str, document_id: str, texts: Sequence[str], wanted: Model) -> Vectors:
        """Return the vectors, shape (len(texts), dimension), of texts of a tenant's document; as `embed` otherwise."""


class Embedders:
    """Several embedders, most often one: another one serves the model that an index will have."""

    def __init__(self, embedders: Sequence[Embedder]) -> None:
        self._embedders = embedders
        self._fitting: dict[Model, Embedder] = {}

    async def model(self) -> Model:
        """Return the model that new indexes are for: the last embedder's. Unavailable while it is away."""
        served = await self._embedders[-1].model()
        self._fitting[served] = self._embedders[-1]
        return served

    async def embed(self, text: str, wanted: Model) -> Vectors:
        """Return the vector of a text, shape (dimension,).

        Raises:
            FailedPrecondition: MODEL_MISMATCH, when none has the model.
            Unavailable: the one that may have it is away.
        """
        try:
            return await (await self.of(wanted)).embed(text, wanted)
        except FailedPrecondition:
            self._fitting.pop(wanted, None)  # it serves another model since we asked
            return await (await self.of(wanted)).embed(text, wanted)

    async def embed_passages(self, tenant: str, document_id: str, texts: Sequence[str], wanted: Model) -> Vectors:
        """Return the vectors of texts of a tenant's document, shape (len(texts), dimension); raises as `embed`."""
        try:
            return await (await self.of(wanted)).embed_passages(tenant, document_id, texts, wanted)
        except FailedPrecondition:
            self._fitting.pop(wanted, None)
            raise

    async def of(self, wanted: Model) -> Embedder:
        """Return the embedder that has a model; raises as `embed`."""
        if wanted in self._fitting:
            return self._fitting[wanted]
        failure: RagError | None = None
        served: Model | None = None
        for embedder in self._embedders:
            try:
                served = await embedder.model()
            except RagError as error:
                failure = error
                continue
            if served == wanted:
                self._fitting[wanted] = embedder
                return embedder
        if failure or served is None:
            raise failure or AssertionError
        check_model(served, wanted)
        raise AssertionError

    async def mismatch(self, wanted: Model) -> RagError | None:
        """Return why no embedder has a model, as a sentence in an error; None when one has it or nobody knows."""
        try:
            await self.of(wanted)
        except FailedPrecondition as error:
            return error
        except RagError as error:
            log.info("models_not_known", reason=error.reason)
        return None
