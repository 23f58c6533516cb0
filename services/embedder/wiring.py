"""How the embedder is put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from rag.runtime.redis import open_redis
from rag.runtime.server import Mount, Room
from rag.v1.embedder_pb2_grpc import add_EmbedderServiceServicer_to_server
from services.embedder.adapters.memory_cache import MemoryCache
from services.embedder.adapters.redis_cache import RedisCache
from services.embedder.batching import Batcher
from services.embedder.embedding import Embedding, Source, VectorCache
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
        caches: dict[Source, VectorCache] = {
            "memory": MemoryCache(settings.cache_bytes),
            "redis": RedisCache(redis),
        }
        model, bounds, batch_texts = await _open_model(settings, stack)
        batcher = Batcher(model, bounds, settings.queue_tokens, settings.batch_patience_ms / 1000)
        stack.push_async_callback(batcher.close)
        embedding = Embedding(model, batcher, caches, batch_texts)
        servicer = EmbedderServicer(embedding)
        mount = Mount(FULL_NAME, lambda server: add_EmbedderServiceServicer_to_server(servicer, server))
        yield Room("embedder", [mount], embedding.is_ready)


async def _open_model(settings: EmbedderSettings, stack: AsyncExitStack) -> tuple[Model, Bounds, int]:
    if settings.provider == "openai":
        return await _open_openai(settings, stack)
    from services.embedder.adapters.onnx_model import OnnxModel

    model = await stack.enter_async_context(OnnxModel.open(settings.data_dir / "models", settings.threads))
    return model, Bounds(settings.batch_tokens), _LOCAL_BATCH_TEXTS


async def _open_openai(settings: EmbedderSettings, stack: AsyncExitStack) -> tuple[Model, Bounds, int]:
    # Imported when chosen only: each of the two takes tens of megabytes that the other's users would pay for.
    from openai import AsyncOpenAI, Timeout

    from services.embedder.adapters.openai_model import OpenaiModel, OpenaiOptions

    client = await stack.enter_async_context(
        AsyncOpenAI(
            # Servers of one's own take any key, and the SDK insists on one.
            api_key=settings.openai_api_key.get_secret_value() or "none",
            base_url=settings.openai_base_url or "https://api.openai.com/v1",
            max_retries=settings.openai_retries,
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
    )
    bounds = Bounds(settings.openai_batch_tokens, settings.openai_batch_texts, settings.openai_parallel, padded=False)
    return OpenaiModel(client, options), bounds, _OPENAI_BATCH_TEXTS
