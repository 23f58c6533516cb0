"""The composition root of the generator: the only place that knows its adapters."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from rag.runtime.peers import open_peer
from rag.runtime.server import Mount, Room
from rag.v1 import generator_pb2_grpc
from services.generator.adapters.extractive_chat import ExtractiveChat
from services.generator.adapters.grpc_retriever import GrpcRetriever
from services.generator.answering import Answering, Prices
from services.generator.chat import ChatModel
from services.generator.question import Defaults
from services.generator.service import GeneratorServicer
from services.generator.settings import GeneratorSettings


@asynccontextmanager
async def wire(settings: GeneratorSettings) -> AsyncIterator[Room]:
    """Build the generator; it is ready while the retriever is serving."""
    async with AsyncExitStack() as stack:
        peer = await stack.enter_async_context(open_peer(settings.retriever_address, "rag.v1.RetrieverService"))
        models: list[ChatModel] = [ExtractiveChat()]
        if settings.uses_model():
            models.insert(0, await _model(settings, stack))
        prices = Prices(settings.input_usd_per_mtok, settings.output_usd_per_mtok)
        answering = Answering(GrpcRetriever(peer), models, prices, settings.passage_budget_tokens)
        defaults = Defaults(settings.top_k, settings.min_score, settings.max_tokens, settings.temperature)
        servicer = GeneratorServicer(answering, defaults)
        add = partial(generator_pb2_grpc.add_GeneratorServiceServicer_to_server, servicer)
        yield Room("generator", [Mount("rag.v1.GeneratorService", add)], peer.is_serving)


async def _model(settings: GeneratorSettings, stack: AsyncExitStack) -> ChatModel:
    # Imported only when it is used: it costs half a second and 40 MB.
    from services.generator.adapters.openai_chat import OpenAIChat, Patience, client_of

    patience = Patience(
        settings.connect_timeout_ms / 1_000,
        settings.first_token_timeout_ms / 1_000,
        settings.next_token_timeout_ms / 1_000,
    )
    key = settings.openai_api_key.get_secret_value()
    client = client_of(key, settings.openai_base_url, patience, settings.max_retries)
    stack.push_async_callback(client.close)
    return OpenAIChat(client, settings.model, patience)
