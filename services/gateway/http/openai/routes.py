"""The routes that OpenAI's clients know."""

from __future__ import annotations

from fastapi import APIRouter

from services.gateway.http.bodies import BoundedJson
from services.gateway.http.deps import Deps
from services.gateway.http.openai import described, examples
from services.gateway.http.openai.chat import Chat
from services.gateway.http.openai.embeddings import Embeddings
from services.gateway.http.openai.models import Models

_ASKED = (
    *("UNSUPPORTED_PARAMETER", "MODEL_NOT_FOUND", "EMPTY_QUESTION", "QUESTION_TOO_LONG"),
    *("BAD_MAX_TOKENS", "BAD_TEMPERATURE", "BAD_TOP_K", "BAD_MIN_SCORE", "BAD_FILTER"),
    *("TOO_MANY_STREAMS", "TOKENS_SPENT", "COST_SPENT", "EMBEDDER_BUSY"),
    *("ANSWER_INCOMPLETE", "GENERATOR_UNAVAILABLE", "RETRIEVER_UNAVAILABLE", "MODEL_UNAVAILABLE"),
)
_EMBEDDED = (
    *("UNSUPPORTED_VALUE", "MODEL_NOT_FOUND", "NO_TEXTS", "TOO_MANY_TEXTS", "EMPTY_TEXT", "TEXTS_TOO_LARGE"),
    *("TOO_MANY_STREAMS", "TOKENS_SPENT", "COST_SPENT", "EMBEDDER_BUSY", "BAD_EMBEDDING", "MODEL_REPLACED"),
    "EMBEDDER_UNAVAILABLE",
)


def routes(deps: Deps) -> APIRouter:
    """Return the routes under /v1 that OpenAI's clients know."""
    chat, embeddings, models = Chat(deps), Embeddings(deps), Models(deps)
    router = APIRouter(prefix="/v1", tags=["openai"], route_class=BoundedJson)
    router.add_api_route(
        "/chat/completions",
        chat.complete,
        methods=["POST"],
        operation_id="createChatCompletion",
        summary="Ask as OpenAI's clients do",
        responses=described.answers(
            described.completion(), examples.COMPLETION, *_ASKED, events=examples.CHUNKS, reads_body=True
        ),
    )
    router.add_api_route(
        "/embeddings",
        embeddings.create,
        methods=["POST"],
        operation_id="createEmbeddings",
        summary="Embed texts",
        responses=described.answers(described.EMBEDDINGS, examples.EMBEDDINGS, *_EMBEDDED, reads_body=True),
    )
    router.add_api_route(
        "/models",
        models.list_all,
        methods=["GET"],
        operation_id="listModels",
        summary="List the models",
        responses=described.answers(described.MODELS, examples.MODELS),
    )
    router.add_api_route(
        "/models/{model:path}",
        models.get,
        methods=["GET"],
        operation_id="getModel",
        summary="Get a model",
        responses=described.answers(described.MODEL, examples.MODELS["data"][0], "MODEL_NOT_FOUND"),
    )
    return router
