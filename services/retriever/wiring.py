"""The composition root of the retriever."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from redis.asyncio import Redis

from rag.backup.pause import is_paused
from rag.ids import new_id
from rag.runtime.mesh import Mesh
from rag.runtime.peers import Peer, join
from rag.runtime.redis import open_redis
from rag.runtime.server import Mount, Room
from rag.runtime.tasks import together
from rag.v1.retriever_pb2_grpc import add_RetrieverServiceServicer_to_server
from services.retriever.adapters.grpc_embedder import GrpcEmbedder
from services.retriever.adapters.grpc_generator import GrpcGenerator
from services.retriever.adapters.grpc_ingestor import GrpcIngestor
from services.retriever.adapters.grpc_splitter import GrpcSplitter
from services.retriever.adapters.http_reranker import HttpReranker
from services.retriever.adapters.milvus_collection import MilvusCollection
from services.retriever.adapters.milvus_opening import open_milvus
from services.retriever.adapters.milvus_store import MilvusStore
from services.retriever.adapters.redis_append_log import RedisAppendLog
from services.retriever.adapters.redis_catalogue import RedisCatalogue
from services.retriever.adapters.redis_checks import RedisChecks
from services.retriever.adapters.redis_deletions import RedisDeletions
from services.retriever.adapters.redis_erasures import RedisErasures
from services.retriever.adapters.redis_evaluations import RedisEvaluations
from services.retriever.adapters.redis_index_record import RedisIndexRecord
from services.retriever.adapters.redis_inventory import RedisInventory
from services.retriever.adapters.redis_listing import RedisListing
from services.retriever.adapters.redis_retrievals import RedisRetrievals
from services.retriever.adapters.redis_versions import RedisVersions
from services.retriever.analysis import MULTILINGUAL, PLAIN, analyzer
from services.retriever.catalogue import Catalogue
from services.retriever.checking import Checking
from services.retriever.embedders import Embedders
from services.retriever.evaluation import Evaluations
from services.retriever.exporting import Exporting
from services.retriever.indexes import Indexes
from services.retriever.indexing import Indexing
from services.retriever.opening import Index, Opening
from services.retriever.rebuild.describing import Describing
from services.retriever.rebuild.following import Following, hold_s
from services.retriever.rebuild.rebuilding import Rebuilder
from services.retriever.rebuild.requests import Rebuilds
from services.retriever.rebuild.retired import DropWorker
from services.retriever.rebuild.switching import Switching
from services.retriever.rebuild.workshop import Workshop
from services.retriever.retrieval.caching import RetrievalCache
from services.retriever.retrieval.contact import Contact
from services.retriever.retrieval.finding import Finding
from services.retriever.retrieval.last_known import LastKnown
from services.retriever.retrieval.query_vector import QueryVectors
from services.retriever.retrieval.reranking import Limits, Reranking
from services.retriever.retrieval.search import Search
from services.retriever.service import Operators, RetrieverServicer
from services.retriever.settings import RetrieverSettings
from services.retriever.snapshots import Snapshots
from services.retriever.tenants import Tenants
from services.retriever.upkeep.deletion import Deleting
from services.retriever.upkeep.deletion_worker import DeletionWorker
from services.retriever.upkeep.erasure import EraseWorker
from services.retriever.upkeep.reconciling import Reconciler
from services.retriever.upkeep.scrubbing import Scrubbing

_LEASE_MARGIN_S = 60.0


@dataclass(frozen=True, slots=True)
class _Base:
    """What everything else is built on."""

    settings: RetrieverSettings
    redis: Redis
    store: MilvusStore
    indexes: Indexes[MilvusCollection]
    catalogue: RedisCatalogue
    inventory: RedisInventory
    record: RedisIndexRecord
    embedders: Embedders
    ingestor: Peer
    generator: Peer

    async def use(self, index: Index) -> None:
        """Open an index and use it from now on."""
        self.indexes.use(await self.store.open(index))
        await self.store.point_alias(index)

    async def is_paused(self) -> bool:
        """Tell whether a backup asks that nothing be removed."""
        return await is_paused(self.redis)


class _Upkeep(NamedTuple):
    """What goes on in the background besides rebuilds."""

    erasing: EraseWorker
    deletion: DeletionWorker
    scrubbing: Scrubbing
    reconciler: Reconciler


class _Rebuild(NamedTuple):
    """New indexes, built and dropped."""

    rebuilder: Rebuilder
    drops: DropWorker
    following: Following
    rebuilds: Rebuilds
    describing: Describing


@asynccontextmanager
async def wire(settings: RetrieverSettings) -> AsyncIterator[Room]:
    """Build the retriever; leaving the block closes everything in reverse."""
    async with AsyncExitStack() as stack:
        base = await _base(settings, stack)
        contact = Contact()
        known = LastKnown(base.catalogue, contact, settings.catalogue_grace_s)
        reranking = await _reranking(settings, stack)
        finding = Finding(known, QueryVectors(base.embedders, settings.embed_timeout_s), reranking)
        cache = RetrievalCache(RedisRetrievals(base.redis, settings.cache_ttl_s), contact, known)
        versions = RedisVersions(base.redis, lease_s=settings.call_timeout_s + _LEASE_MARGIN_S)
        upkeep, evaluations = _upkeep(base), Evaluations(RedisEvaluations(base.redis))
        rebuild, opening = _rebuild(base, upkeep, finding), _opening(base)
        live, jobs, deletions = base.indexes.live, GrpcIngestor(base.ingestor), RedisDeletions(base.redis)
        servicer = RetrieverServicer(
            Search(live, finding, cache),
            Indexing(versions, live, upkeep.erasing, known.committed),
            Catalogue(base.catalogue, live),
            checking=Checking(RedisChecks(base.redis), lambda: live().index, reranking.name),
            deleting=Deleting(deletions, jobs, upkeep.erasing, upkeep.deletion, on_delete=known.deleted),
            operators=_operators(base, rebuild, evaluations),
        )

        async def is_ready() -> bool:
            return opening.is_done and await known.is_usable() and await base.store.ping()

        async def background() -> None:
            await opening.run()
            # An erasure has to reach every index that is recorded.
            await rebuild.following.begin(leftovers=None if settings.milvus_uri else rebuild.drops.drop_leftovers)
            builders = (rebuild.following, rebuild.rebuilder, rebuild.drops)
            await together(*(worker.run() for worker in (*upkeep, *builders, evaluations)))

        mount = Mount("rag.v1.RetrieverService", partial(add_RetrieverServiceServicer_to_server, servicer))
        yield Room("retriever", [mount], is_ready, [background])


async def _base(settings: RetrieverSettings, stack: AsyncExitStack) -> _Base:
    redis, mesh = await stack.enter_async_context(open_redis(settings.redis_url)), Mesh.of(settings)
    indexes: Indexes[MilvusCollection] = Indexes()
    return _Base(
        settings,
        redis,
        await stack.enter_async_context(_store(settings)),
        indexes,
        RedisCatalogue(redis, indexes.name),
        RedisInventory(redis, indexes.name),
        RedisIndexRecord(redis, new_id("retriever")),
        await _embedders(settings, stack, mesh),
        await join(stack, mesh, settings.ingestor_address, "rag.v1.IngestorService"),
        await join(stack, mesh, settings.generator_address, "rag.v1.GeneratorService"),
    )


def _opening(base: _Base) -> Opening:
    erasures, settings = RedisErasures(base.redis), base.settings

    async def sweep() -> None:
        if not settings.milvus_uri:  # nobody else writes here: what is open was left by a process that died
            await erasures.give_up_all()
            await base.record.release_all()

    return Opening(base.embedders, base.record, base.use, settings.analyzer, sweep, report=base.indexes.report)


def _upkeep(base: _Base) -> _Upkeep:
    redis, store, paused, pause_s = base.redis, base.store, base.is_paused, base.settings.sweep_pause_s
    scrubbing = Scrubbing(store)
    erasing = EraseWorker(RedisErasures(redis), store, scrubbing, paused=paused)
    jobs, answers = GrpcIngestor(base.ingestor), GrpcGenerator(base.generator)
    deletions, log = RedisDeletions(redis), RedisAppendLog(redis)
    deletion = DeletionWorker(
        deletions, jobs, answers, store, scrubbing, catalogue_log=log, sweep_pause_s=pause_s, paused=paused
    )
    reconciler = Reconciler(base.inventory, base.indexes.live, erasing, base.settings.reconcile_s)
    return _Upkeep(erasing, deletion, scrubbing, reconciler)


def _rebuild(base: _Base, upkeep: _Upkeep, finding: Finding) -> _Rebuild:
    settings, record, live, store = base.settings, base.record, base.indexes.live, base.store
    embedders, keep_s, cut, use = base.embedders, settings.keep_retired_s, GrpcSplitter(base.ingestor).cut, base.use
    texts = base.catalogue
    workshop = Workshop(
        store, live, use, catalogue=base.inventory, documents=texts, embedders=embedders, cut=cut, finding=finding
    )
    switching = Switching(record, keep_s, hold_s(is_shared=bool(settings.milvus_uri)))
    rebuilder = Rebuilder(record, workshop, switching, keep_s=keep_s, on_switch=upkeep.reconciler.wake)
    analyzers = sorted([MULTILINGUAL, PLAIN], key=lambda name: name != settings.analyzer)
    return _Rebuild(
        rebuilder,
        DropWorker(record, store, upkeep.scrubbing, paused=base.is_paused),
        Following(record, workshop),
        Rebuilds(record, embedders, rebuilder, analyzers=analyzers, keep_s=keep_s),
        Describing(record, workshop, base.inventory, embedders, live),
    )


def _operators(base: _Base, rebuild: _Rebuild, evaluations: Evaluations) -> Operators:
    listing, settings = RedisListing(base.redis), base.settings
    return Operators(
        Exporting(listing, base.indexes.live),
        Snapshots(None if settings.milvus_uri else base.store, settings.data_dir),
        Tenants(listing),
        rebuild.rebuilds,
        rebuild.describing,
        evaluations,
    )


def _store(settings: RetrieverSettings) -> AbstractAsyncContextManager[MilvusStore]:
    token, timeout_s = settings.milvus_token.get_secret_value(), settings.index_timeout_s
    folder, linger_s = settings.data_dir / "milvus", settings.engine_linger_s
    return open_milvus(settings.milvus_uri, folder, analyzer, token=token, timeout_s=timeout_s, linger_s=linger_s)


async def _embedders(settings: RetrieverSettings, stack: AsyncExitStack, mesh: Mesh) -> Embedders:
    addresses = [settings.embedder_address, settings.next_embedder_address]
    peers = [await join(stack, mesh, address, "rag.v1.EmbedderService") for address in addresses if address]
    return Embedders([GrpcEmbedder(peer) for peer in peers])


async def _reranking(settings: RetrieverSettings, stack: AsyncExitStack) -> Reranking:
    limits = Limits(settings.rerank_candidates, settings.rerank_timeout_s)
    if not settings.rerank_url:
        return Reranking(None, limits)
    key, timeout_s = settings.rerank_api_key.get_secret_value(), settings.rerank_timeout_s
    opened = HttpReranker.open(settings.rerank_url, settings.rerank_api, settings.rerank_model, key, timeout_s)
    return Reranking(await stack.enter_async_context(opened), limits)
