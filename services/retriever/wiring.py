"""The composition root of the retriever."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from rag.runtime.peers import open_peer
from rag.runtime.redis import open_redis
from rag.runtime.server import Mount, Room
from rag.v1.retriever_pb2_grpc import add_RetrieverServiceServicer_to_server
from services.retriever.adapters.grpc_embedder import GrpcEmbedder
from services.retriever.adapters.milvus_connection import Address
from services.retriever.adapters.milvus_index import MilvusIndex
from services.retriever.adapters.milvus_lite_child import MilvusLiteChild
from services.retriever.adapters.redis_catalogue import RedisCatalogue
from services.retriever.adapters.redis_erasures import RedisErasures
from services.retriever.adapters.redis_index_record import RedisIndexRecord
from services.retriever.adapters.redis_versions import RedisVersions
from services.retriever.catalogue import Catalogue
from services.retriever.erasure import EraseWorker
from services.retriever.indexing import Indexing
from services.retriever.opening import Opening
from services.retriever.search import Search
from services.retriever.service import RetrieverServicer
from services.retriever.settings import RetrieverSettings

_LEASE_MARGIN_S = 60.0


@asynccontextmanager
async def wire(settings: RetrieverSettings) -> AsyncIterator[Room]:
    """Build the retriever; leaving the block closes everything in reverse."""
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(open_redis(settings.redis_url))
        peer = await stack.enter_async_context(open_peer(settings.embedder_address, "rag.v1.EmbedderService"))
        catalogue = RedisCatalogue(redis)
        versions = RedisVersions(redis, lease_s=settings.call_timeout_s + _LEASE_MARGIN_S)
        erasures = RedisErasures(redis)
        index = await _open_index(settings, stack)
        embedder = GrpcEmbedder(peer, index.model)
        worker = EraseWorker(erasures, index)

        async def sweep() -> None:
            if not settings.milvus_uri:  # nobody else writes here: what is open was left by a process that died
                await erasures.give_up_all()

        opening = Opening(embedder, RedisIndexRecord(redis), index, settings.analyzer, sweep)
        servicer = RetrieverServicer(
            Search(index, catalogue, embedder), Indexing(versions, index, worker), Catalogue(catalogue, index, worker)
        )

        async def is_ready() -> bool:
            return opening.is_done and await catalogue.ping() and await index.ping()

        async def background() -> None:
            await opening.run()
            await worker.run()

        mount = Mount("rag.v1.RetrieverService", partial(add_RetrieverServiceServicer_to_server, servicer))
        yield Room("retriever", [mount], is_ready, [background])


async def _open_index(settings: RetrieverSettings, stack: AsyncExitStack) -> MilvusIndex:
    """Return the index on the server that was named, or else on an engine of our own."""
    if settings.milvus_uri:
        address, embedded = _always(settings.milvus_uri), False
    else:
        child = MilvusLiteChild(settings.data_dir / "milvus")
        await child.open()
        stack.push_async_callback(child.close)
        address, embedded = child.address, True
    token = settings.milvus_token.get_secret_value()
    index = MilvusIndex(address, token=token, timeout_s=settings.index_timeout_s, embedded=embedded)
    stack.push_async_callback(index.close)
    return index


def _always(uri: str) -> Address:
    async def address() -> str:
        return uri

    return address
