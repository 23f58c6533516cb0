"""The models that can be asked for."""

from __future__ import annotations

from fastapi import Request, Response

from rag.runtime.errors import DeadlineExceeded, Unavailable
from rag.runtime.logs import get_logger
from rag.v1 import embedder_pb2 as pb
from rag.v1.embedder_pb2_grpc import EmbedderServiceStub
from services.gateway.http.calls import allow, json_response, while_connected
from services.gateway.http.deps import Deps
from services.gateway.http.openai import shapes
from services.gateway.http.openai.conversation import CHAT_MODELS, no_such_model

log = get_logger(__name__)

_OWNER = "ragmesh"


class Models:
    """The routes of models."""

    def __init__(self, deps: Deps) -> None:
        self._timeout_s = deps.settings.unary_timeout_s
        self._embedder = deps.peers.embedder
        self._stub = EmbedderServiceStub(deps.peers.embedder.channel)

    async def list_all(self, request: Request) -> Response:
        """List what can be asked for: the chat models, and the embedding model unless the embedder is away.

        `ragmesh` answers from the documents and finds them by meaning and words (hybrid), `ragmesh-dense` by meaning alone,
        `ragmesh-keyword` by words alone. Which language model writes the answers is the server's choice.
        """
        allow(self._timeout_s)
        found = await while_connected(request, self._all())
        return json_response({"object": "list", "data": [shapes.model(*one) for one in found.items()]})

    async def get(self, request: Request, model: str) -> Response:
        """Return one model."""
        allow(self._timeout_s)
        found = await while_connected(request, self._all())
        if model not in found:
            raise no_such_model(model, found)
        return json_response(shapes.model(model, found[model]))

    async def _all(self) -> dict[str, str]:
        """Return who owns each model."""
        chat = dict.fromkeys(CHAT_MODELS, _OWNER)
        try:
            embedding = await self._embedder.unary(self._stub.GetModel, pb.GetModelRequest())
        except (Unavailable, DeadlineExceeded) as error:
            log.warning("embedding_model_not_listed", reason=error.reason)  # a chat can do without it
            return chat
        return {**chat, embedding.model: embedding.provider or _OWNER}
