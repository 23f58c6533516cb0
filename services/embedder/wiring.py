"""How the embedder is put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from redis.asyncio import Redis

from rag.runtime.redis import open_redis
from rag.runtime.server import Mount, Room
from rag.v1.embedder_pb2_grpc import add_EmbedderServiceServicer_to_server
from services.embedder.adapters.memory_cache import MemoryCache
from services.embedder.adapters.redis_cache import RedisCache
from services.embedder.batching import Batcher
from services.embedder.caching import Caches
from services.embedder.embedding import Embedding
from services.embedder.model import Bounds, Model
from services.embedder.service import EmbedderServicer
from services.embedder.settings import EmbedderSettings

FULL_NAME = "rag.v1.EmbedderService"
# About a second of a processor's work on full passages; for an endpoint, enough to be worth a request.
_LOCAL_BATCH_TEXTS = 32
_OPENAI_BATCH_TEXTS = 128


@asynccontextmanager
async def wire(settings: EmbedderSettings) -> AsyncIterator[Room]:
    """Build the embedder for the length of a block."""
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(open_redis(settings.redis_url))
        memory = MemoryCache(settings.cache_bytes, settings.cache_age_s)
        shared = RedisCache(redis)
        stack.push_async_callback(shared.close)
        caches = Caches(memory, shared)
        model, bounds, batch_texts = await _open_model(settings, redis, stack)
        patience_s = settings.batch_patience_ms / 1000
        batcher = Batcher(model, bounds, caches.keep, queue_tokens=settings.queue_tokens, patience_s=patience_s)
        stack.push_async_callback(batcher.close)
        embedding = Embedding(model, batcher, caches, batch_texts)
        servicer = EmbedderServicer(embedding)
        mount = Mount(FULL_NAME, lambda server: add_EmbedderServiceServicer_to_server(servicer, server))
        yield Room("embedder", [mount], embedding.is_ready, [memory.sweep_on])


async def _open_model(settings: EmbedderSettings, redis: Redis, stack: AsyncExitStack) -> tuple[Model, Bounds, int]:
    if settings.provider == "openai":
        return await _open_openai(settings, redis, stack)
    from services.embedder.adapters.onnx_model import OnnxModel

    folder = settings.data_dir / "models"
    model = await stack.enter_async_context(OnnxModel.open(folder, settings.threads, settings.precision))
    return model, Bounds(settings.batch_tokens), _LOCAL_BATCH_TEXTS


async def _open_openai(settings: EmbedderSettings, redis: Redis, stack: AsyncExitStack) -> tuple[Model, Bounds, int]:
    # Imported when chosen only: each of the two takes tens of megabytes that the other's users would pay for.
    from openai import AsyncOpenAI, Timeout

    from services.embedder.adapters.openai_model import OpenaiModel, OpenaiOptions
    from services.embedder.adapters.redis_cooldown import RedisCooldown

    base_url = settings.openai_base_url or "https://api.openai.com/v1"
    client = await stack.enter_async_context(
        AsyncOpenAI(
            # Servers of one's own take any key, and the SDK insists on one.
            api_key=settings.openai_api_key.get_secret_value() or "none",
            base_url=base_url,
            max_retries=0,  # ours know the deadline and the cooldown
            timeout=Timeout(settings.openai_timeout_s, connect=3.0),
        )
    )
    options = OpenaiOptions(
        model=settings.model,
        revision=settings.openai_revision,
        dimension=settings.openai_dimension,
        ask_dimension=settings.openai_ask_dimension,
        max_input_tokens=settings.openai_max_input_tokens,
        timeout_s=settings.openai_timeout_s,
        retries=settings.openai_retries,
    )
    bounds = Bounds(settings.openai_batch_tokens, settings.openai_batch_texts, settings.openai_parallel, padded=False)
    return OpenaiModel(client, options, RedisCooldown(redis, base_url)), bounds, _OPENAI_BATCH_TEXTS
