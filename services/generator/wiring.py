"""The composition root of the generator: the only place that knows its adapters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from rag.runtime.breaker import Breaker
from rag.runtime.fair_queue import FairQueue
from rag.runtime.mesh import Mesh
from rag.runtime.peers import Peer, join
from rag.runtime.redis import open_redis
from rag.runtime.server import Mount, Room
from rag.v1 import generator_pb2_grpc
from services.generator.adapters.extractive_chat import ExtractiveChat
from services.generator.adapters.grpc_catalogue import GrpcCatalogue
from services.generator.adapters.grpc_question_vectors import GrpcQuestionVectors
from services.generator.adapters.grpc_retriever import GrpcRetriever
from services.generator.adapters.redis_answers import RedisAnswers
from services.generator.adapters.redis_questions import RedisQuestions
from services.generator.answering import Answering
from services.generator.caching.alike import Alike
from services.generator.caching.answers import AnswerCache, Find
from services.generator.caching.refinding import Refinding
from services.generator.making import Making
from services.generator.prompting import templates
from services.generator.prompting.prompt import Prompts
from services.generator.prompting.standalone import Standalone
from services.generator.prompting.tokens import tokens_at_most
from services.generator.question import Defaults
from services.generator.service import GeneratorServicer
from services.generator.settings import GeneratorSettings
from services.generator.writing.chat import ChatModel
from services.generator.writing.failover import Patience, Provider, Providers
from services.generator.writing.pricing import Prices


@asynccontextmanager
async def wire(settings: GeneratorSettings) -> AsyncIterator[Room]:
    """Build the generator; it is ready while the retriever is serving."""
    async with AsyncExitStack() as stack:
        mesh = Mesh.of(settings)
        peer = await join(stack, mesh, settings.retriever_address, "rag.v1.RetrieverService")
        retriever, prompts = GrpcRetriever(peer), _prompts(settings)
        find = Refinding(retriever, prompts.select).sources
        providers = await _providers(settings, stack)
        cache = await _cache(
            settings, stack, mesh, peer, ground=lambda: (prompts.version, *providers.identity), find=find
        )
        making = Making(
            retriever,
            cache,
            prompts=prompts,
            standalone=Standalone(prompts, providers.without_last_resort(), settings.standalone_timeout_ms / 1_000),
            providers=providers,
            prices=Prices(settings.prices),
            writers=FairQueue(settings.parallel_answers, settings.max_concurrent_calls, "the language model"),
        )
        defaults = Defaults(settings.top_k, settings.min_score, settings.max_tokens, settings.temperature)
        servicer = GeneratorServicer(Answering(making, cache), cache, defaults)
        add = partial(generator_pb2_grpc.add_GeneratorServiceServicer_to_server, servicer)
        yield Room("generator", [Mount("rag.v1.GeneratorService", add)], peer.is_serving)


def _prompts(settings: GeneratorSettings) -> Prompts:
    count = tokens_at_most
    if settings.tokenizer:
        from services.generator.adapters.huggingface_tokenizer import HuggingFaceTokenizer

        count = HuggingFaceTokenizer(settings.tokenizer).count
    loaded = templates.load(settings.templates)
    return Prompts(loaded, count, settings.passage_budget_tokens, settings.history_budget_tokens)


async def _cache(
    settings: GeneratorSettings,
    stack: AsyncExitStack,
    mesh: Mesh,
    retriever: Peer,
    *,
    ground: Callable[[], Sequence[str]],
    find: Find,
) -> AnswerCache:
    redis = await stack.enter_async_context(open_redis(settings.redis_url))
    answers = RedisAnswers(redis, settings.call_timeout_s)
    alike = None
    # An extract costs less than looking for questions of the same meaning.
    if settings.uses_model() and settings.semantic_threshold:
        embedder = await join(stack, mesh, settings.embedder_address, "rag.v1.EmbedderService")
        vectors, questions = GrpcQuestionVectors(embedder), RedisQuestions(redis)
        alike = Alike(vectors, questions, settings.semantic_threshold, settings.ttl_s)
    return AnswerCache(GrpcCatalogue(retriever), answers, find, ground=ground, ttl_s=settings.ttl_s, alike=alike)


async def _providers(settings: GeneratorSettings, stack: AsyncExitStack) -> Providers:
    patience = Patience(settings.first_token_timeout_ms / 1_000, settings.next_token_timeout_ms / 1_000)
    written = [Provider(model, _breaker(settings, model)) for model in await _models(settings, stack)]
    return Providers([*written, Provider(ExtractiveChat())], patience)


def _breaker(settings: GeneratorSettings, model: ChatModel) -> Breaker:
    return Breaker(
        model.provider,
        settings.breaker_failures,
        settings.breaker_pause_s,
        settings.breaker_slow_ms / 1_000,
    )


async def _models(settings: GeneratorSettings, stack: AsyncExitStack) -> list[ChatModel]:
    """Return the language models, in the order in which they are asked."""
    if not settings.uses_model():
        return []
    # Imported only when it is used: it costs half a second and 40 MB.
    from services.generator.adapters.openai_chat import OpenAIChat, client_of

    models: list[ChatModel] = []
    for endpoint in settings.endpoints():
        key = endpoint.api_key.get_secret_value()
        client = client_of(key, endpoint.base_url, settings.connect_timeout_ms / 1_000, settings.max_retries)
        stack.push_async_callback(client.close)
        models.append(OpenAIChat(client, endpoint.model, endpoint.name))
    return models
