"""Texts to vectors, in OpenAI's shape."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing

import orjson
from fastapi import Request, Response

from rag.runtime.errors import Internal, InvalidInput, RagError, Unavailable
from rag.v1 import embedder_pb2 as pb
from rag.v1.embedder_pb2_grpc import EmbedderServiceStub
from rag.vectors import Vectors, unpack
from services.gateway.http.calls import allow, while_connected
from services.gateway.http.deps import Deps
from services.gateway.http.openai import shapes
from services.gateway.http.openai.bodies import EmbeddingsBody
from services.gateway.http.openai.conversation import no_such_model

_NUMPY = orjson.OPT_SERIALIZE_NUMPY
_COUNTED = ("tokens", "from_memory", "from_redis", "computed", "truncated")


class Embeddings:
    """The route of embeddings."""

    def __init__(self, deps: Deps) -> None:
        self._timeout_s = deps.settings.query_timeout_s
        self._embedder = deps.peers.embedder
        self._stub = EmbedderServiceStub(deps.peers.embedder.channel)
        self._known: pb.GetModelResponse | None = None

    async def create(self, request: Request, body: EmbeddingsBody) -> Response:
        """Turn texts into vectors of length 1, in the order of the texts, by the model that the documents are searched with.

        A text that is longer than the model's limit is cut there; `rag.truncated` counts those that were computed for this
        call. `usage` counts the tokens that went through the model: a vector that was known costs none.
        """
        allow(self._timeout_s)
        return Response(await while_connected(request, self._answer(body)), media_type="application/json")

    async def _answer(self, body: EmbeddingsBody) -> bytes:
        await self._check(body)
        as_base64 = body.encoding_format == "base64"
        batches: list[bytes] = []
        count, revision, cost = 0, "", Counter(dict.fromkeys(_COUNTED, 0))
        responses = self._embedder.stream(self._stub.Embed, pb.EmbedRequest(texts=body.input))
        async with aclosing(responses):
            async for one in responses:
                self._check_batch(one, body.model, count)
                batches.append(b",".join(_members(one, as_base64=as_base64)))
                count, revision = count + one.count, one.revision
                cost.update({name: getattr(one.usage, name) for name in _COUNTED})
        if count != len(body.input):
            raise Internal("The embedder did not answer with one vector per text.", "BAD_EMBEDDING")
        return shapes.embeddings(batches, body.model, {"revision": revision, **cost})

    async def _check(self, body: EmbeddingsBody) -> None:
        """Refuse another model or dimension than that which serves, which is asked again before it is."""
        if self._known is None or _misfit(body, self._known):
            self._known = await self._embedder.unary(self._stub.GetModel, pb.GetModelRequest())
        misfit = _misfit(body, self._known)
        if misfit:
            raise misfit

    def _check_batch(self, batch: pb.EmbedResponse, model: str, offset: int) -> None:
        if batch.model != model:
            self._known = None
            raise Unavailable("The embedding model was replaced meanwhile; ask again.", "MODEL_REPLACED")
        if batch.offset != offset:
            raise Internal("The embedder answered out of order.", "BAD_EMBEDDING")


def _misfit(body: EmbeddingsBody, served: pb.GetModelResponse) -> RagError | None:
    if body.model != served.model:
        return no_such_model(body.model, [served.model])
    if body.dimensions not in {None, served.dimension}:
        message = f"The vectors of {served.model} have {served.dimension} numbers and cannot be shortened."
        return InvalidInput(message, "UNSUPPORTED_VALUE", param="dimensions")
    return None


def _members(batch: pb.EmbedResponse, *, as_base64: bool) -> Iterator[bytes]:
    for index, vector in enumerate(_vectors(batch), batch.offset):
        value = b'"%b"' % b64encode(vector) if as_base64 else orjson.dumps(vector, option=_NUMPY)
        yield b'{"object":"embedding","index":%d,"embedding":%b}' % (index, value)


def _vectors(batch: pb.EmbedResponse) -> Vectors:
    vectors = unpack(batch.values, batch.dimension)
    if len(vectors) != batch.count:
        raise Internal("The embedder did not answer with one vector per text.", "BAD_EMBEDDING")
    return vectors
