"""The composition root of the retriever."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from rag.runtime.peers import open_peer
from rag.runtime.redis import open_redis
from rag.runtime.server import Mount, Room
from rag.runtime.tasks import together
from rag.v1.retriever_pb2_grpc import add_RetrieverServiceServicer_to_server
from services.retriever.adapters.grpc_embedder import GrpcEmbedder
from services.retriever.adapters.grpc_ingestor import GrpcIngestor
from services.retriever.adapters.milvus_connection import Address
from services.retriever.adapters.milvus_index import MilvusIndex
from services.retriever.adapters.milvus_lite_child import MilvusLiteChild
from services.retriever.adapters.redis_append_log import RedisAppendLog
from services.retriever.adapters.redis_catalogue import RedisCatalogue
from services.retriever.adapters.redis_deletions import RedisDeletions
from services.retriever.adapters.redis_erasures import RedisErasures
from services.retriever.adapters.redis_index_record import RedisIndexRecord
from services.retriever.adapters.redis_inventory import RedisInventory
from services.retriever.adapters.redis_versions import RedisVersions
from services.retriever.catalogue import Catalogue
from services.retriever.deletion import Deleting, DeletionWorker
from services.retriever.erasure import EraseWorker
from services.retriever.indexing import Indexing
from services.retriever.opening import Opening
from services.retriever.reconciling import Reconciler
from services.retriever.scrubbing import Scrubbing
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
        ingestor = await stack.enter_async_context(open_peer(settings.ingestor_address, "rag.v1.IngestorService"))
        catalogue = RedisCatalogue(redis)
        versions = RedisVersions(redis, lease_s=settings.call_timeout_s + _LEASE_MARGIN_S)
        erasures = RedisErasures(redis)
        index = await _open_index(settings, stack)
        embedder = GrpcEmbedder(peer, index.model)
        scrubbing = Scrubbing(index)
        erasing = EraseWorker(erasures, index, scrubbing)
        deletions, jobs = RedisDeletions(redis), GrpcIngestor(ingestor)
        redis_log, pause_s = RedisAppendLog(redis), settings.sweep_pause_s
        deletion = DeletionWorker(deletions, jobs, index, scrubbing, redis_log, sweep_pause_s=pause_s)
        reconciler = Reconciler(RedisInventory(redis), index, erasing, settings.reconcile_s)

        async def sweep() -> None:
            if not settings.milvus_uri:  # nobody else writes here: what is open was left by a process that died
                await erasures.give_up_all()

        opening = Opening(embedder, RedisIndexRecord(redis), index, settings.analyzer, sweep)
        servicer = RetrieverServicer(
            Search(index, catalogue, embedder),
            Indexing(versions, index, erasing),
            Catalogue(catalogue, index),
            Deleting(deletions, jobs, erasing, deletion),
        )

        async def is_ready() -> bool:
            return opening.is_done and await catalogue.ping() and await index.ping()

        async def background() -> None:
            await opening.run()
            await together(erasing.run(), deletion.run(), scrubbing.run(), reconciler.run())

        mount = Mount("rag.v1.RetrieverService", partial(add_RetrieverServiceServicer_to_server, servicer))
        yield Room("retriever", [mount], is_ready, [background])


async def _open_index(settings: RetrieverSettings, stack: AsyncExitStack) -> MilvusIndex:
    """Return the index on the server that was named, or else on an engine of our own."""
    if settings.milvus_uri:
        address, database = _always(settings.milvus_uri), None
    else:
        child = MilvusLiteChild(settings.data_dir / "milvus")
        await child.open()
        stack.push_async_callback(child.close)
        address, database = child.address, child.database
    token = settings.milvus_token.get_secret_value()
    index = MilvusIndex(address, token=token, timeout_s=settings.index_timeout_s, database=database)
    stack.push_async_callback(index.close)
    return index


def _always(uri: str) -> Address:
    async def address() -> str:
        return uri

    return address
