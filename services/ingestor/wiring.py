"""The composition root of the ingestor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from rag.ids import new_id
from rag.local_model import tokenizer_path
from rag.runtime.peers import Peer, open_peer
from rag.runtime.redis import open_redis
from rag.runtime.server import Mount, Room
from rag.v1.ingestor_pb2_grpc import add_IngestorServiceServicer_to_server
from services.ingestor.adapters.child_reader import ChildReader, ReaderLimits
from services.ingestor.adapters.fsspec_blobs import FsspecBlobs
from services.ingestor.adapters.grpc_embedder import GrpcEmbedder
from services.ingestor.adapters.grpc_index import GrpcIndex
from services.ingestor.adapters.redis_events import RedisEvents
from services.ingestor.adapters.redis_jobs import RedisJobs
from services.ingestor.adapters.redis_queue import QueueRules, RedisQueue
from services.ingestor.adapters.wordpiece_tokens import WordpieceTokens
from services.ingestor.job_run import WorkerRules
from services.ingestor.pipeline import Stages
from services.ingestor.service import IngestorService
from services.ingestor.settings import IngestorSettings
from services.ingestor.splitting import Sizes
from services.ingestor.submission import Submissions
from services.ingestor.worker import Worker

SERVICE = "rag.v1.IngestorService"
_BLOCK_S = 2.0


@asynccontextmanager
async def wire(settings: IngestorSettings) -> AsyncIterator[Room]:
    """Build the ingestor from its settings and take it down again."""
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(open_redis(settings.redis_url))
        # Clients that wait have connections of their own: watchers must not keep the workers from theirs.
        taking = await stack.enter_async_context(open_redis(settings.redis_url, block_s=_BLOCK_S))
        watching = await stack.enter_async_context(open_redis(settings.redis_url, block_s=_BLOCK_S))
        embedder = await stack.enter_async_context(open_peer(settings.embedder_address, "rag.v1.EmbedderService"))
        retriever = await stack.enter_async_context(open_peer(settings.retriever_address, "rag.v1.RetrieverService"))

        data_dir = settings.data_dir.absolute()
        blobs = FsspecBlobs(settings.blobs_url or str(data_dir / "blobs"), data_dir / "drafts")
        jobs = RedisJobs(redis, require_aof=settings.require_aof)
        queue = RedisQueue(redis, taking, new_id("worker"), _queue_rules(settings))
        stages = await _stages(settings, embedder, retriever)
        worker = Worker(queue, blobs, stages, _worker_rules(settings))
        submissions = Submissions(blobs, jobs, settings.max_upload_bytes)
        service = IngestorService(submissions, jobs, RedisEvents(watching))

        async def is_ready() -> bool:
            # Embedder and retriever may be away: the queue is durable, and the jobs wait for them.
            return bool(await redis.ping())

        yield Room(
            name="ingestor",
            services=[Mount(SERVICE, lambda server: add_IngestorServiceServicer_to_server(service, server))],
            is_ready=is_ready,
            background=[worker.run],
            before_drain=worker.stop,
        )


async def _stages(settings: IngestorSettings, embedder: Peer, retriever: Peer) -> Stages:
    limits = ReaderLimits(
        memory_bytes=settings.parser_memory_bytes,
        cpu_s=settings.parser_cpu_s,
        wait_s=settings.parser_wait_s,
        life_s=int(settings.job_deadline_s) + 1,
    )
    return Stages(
        reader=ChildReader(limits),
        counter=await asyncio.to_thread(lambda: WordpieceTokens(tokenizer_path())),
        embedder=GrpcEmbedder(embedder, settings.embed_timeout_s),
        index=GrpcIndex(retriever),
        sizes=Sizes(settings.passage_tokens, settings.passage_overlap_tokens),
        batch_tokens=settings.embed_batch_tokens,
    )


def _queue_rules(settings: IngestorSettings) -> QueueRules:
    return QueueRules(settings.lease_ms, settings.max_attempts, settings.job_keep_s * 1000)


def _worker_rules(settings: IngestorSettings) -> WorkerRules:
    return WorkerRules(
        concurrency=settings.concurrency,
        heartbeat_s=settings.heartbeat_ms / 1000,
        progress_s=settings.progress_ms / 1000,
        job_deadline_s=settings.job_deadline_s,
    )
