"""The composition root of the ingestor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import httpx
from redis.asyncio import Redis

from rag.backup.pause import is_paused
from rag.ids import new_id
from rag.local_model import tokenizer_path
from rag.runtime.mesh import Mesh
from rag.runtime.peers import join
from rag.runtime.redis import open_redis
from rag.runtime.server import Mount, Room
from rag.v1.ingestor_pb2_grpc import add_IngestorServiceServicer_to_server
from services.ingestor.adapters.child_reader import ChildReader
from services.ingestor.adapters.fsspec_blobs import FsspecBlobs
from services.ingestor.adapters.grpc_embedder import GrpcEmbedder
from services.ingestor.adapters.grpc_index import GrpcIndex
from services.ingestor.adapters.httpx_receiver import HttpxReceiver
from services.ingestor.adapters.httpx_web import HttpxWeb
from services.ingestor.adapters.redis_control import RedisControl
from services.ingestor.adapters.redis_ended_jobs import RedisEndedJobs
from services.ingestor.adapters.redis_events import RedisEvents
from services.ingestor.adapters.redis_jobs import RedisJobs
from services.ingestor.adapters.redis_ledger import RedisLedger
from services.ingestor.adapters.redis_leftovers import RedisLeftovers
from services.ingestor.adapters.redis_queue import QueueRules, RedisQueue
from services.ingestor.adapters.wordpiece_tokens import WordpieceTokens
from services.ingestor.cancelling import Cancelling, Remains
from services.ingestor.erasing import Erasing
from services.ingestor.fetching import FetchRules, UrlSubmissions
from services.ingestor.forgetting import Forgetting
from services.ingestor.frames import ReaderLimits
from services.ingestor.job_run import WorkerRules, WorkRoom
from services.ingestor.pipeline import Stages
from services.ingestor.reconciling import Reconciler
from services.ingestor.resplitting import Resplitting
from services.ingestor.retrying import Retrying
from services.ingestor.service import Desks, IngestorService
from services.ingestor.settings import IngestorSettings
from services.ingestor.splitting import Sizes
from services.ingestor.submission import Submissions
from services.ingestor.webhooks import Webhooks, secret_of
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

        blobs = _blobs(settings, redis)
        jobs = RedisJobs(redis, require_aof=settings.require_aof, max_queued=settings.max_queued)
        control = RedisControl(redis, settings.lease_ms, settings.max_queued)
        queue = RedisQueue(redis, taking, new_id("worker"), _queue_rules(settings))
        stages = await _stages(settings, stack)
        leftovers = RedisLeftovers(redis)
        cancelling = Cancelling(control, queue, jobs, Remains(blobs, stages.index, leftovers))
        forgetting = Forgetting(leftovers, stages.index, stages.embedder)
        worker = Worker(WorkRoom(queue, blobs, stages, _worker_rules(settings)), cancelling)
        submissions = Submissions(blobs, jobs, settings.max_upload_bytes)
        desks = Desks(
            submissions=submissions,
            urls=UrlSubmissions(submissions, HttpxWeb(), _fetch_rules(settings)),
            jobs=jobs,
            events=RedisEvents(watching),
            cancelling=cancelling,
            retrying=Retrying(jobs, control, blobs),
            erasing=Erasing(control, cancelling, blobs, stages.embedder),
            resplitting=Resplitting(stages.counter, stages.sizes),
        )
        service = IngestorService(desks)
        # A draft or a copy that lay untouched for two attempts' time belongs to nobody.
        reconciler = Reconciler(blobs, RedisLedger(redis), settings.reconcile_s, 2 * settings.job_deadline_s)
        webhooks = await _webhooks(settings, stack, redis, jobs)

        async def is_ready() -> bool:
            # Embedder and retriever may be away: the queue is durable, and the jobs wait for them.
            return bool(await redis.ping())

        yield Room(
            name="ingestor",
            services=[Mount(SERVICE, lambda server: add_IngestorServiceServicer_to_server(service, server))],
            is_ready=is_ready,
            background=[worker.run, reconciler.run, forgetting.run, *([webhooks.run] if webhooks else [])],
            before_drain=worker.stop,
        )


def _blobs(settings: IngestorSettings, redis: Redis) -> FsspecBlobs:
    data_dir = settings.data_dir.absolute()
    return FsspecBlobs(settings.blobs_url or str(data_dir / "blobs"), data_dir / "drafts", partial(is_paused, redis))


def _reader_limits(settings: IngestorSettings) -> ReaderLimits:
    return ReaderLimits(
        memory_bytes=settings.parser_memory_bytes,
        cpu_s=settings.parser_cpu_s,
        cpu_page_s=settings.parser_cpu_page_s,
        cpu_most_s=settings.parser_cpu_most_s,
        wait_s=settings.parser_wait_s,
        life_s=int(settings.job_deadline_s) + 1,
    )


async def _stages(settings: IngestorSettings, stack: AsyncExitStack) -> Stages:
    mesh = Mesh.of(settings)
    embedder = await join(stack, mesh, settings.embedder_address, "rag.v1.EmbedderService")
    retriever = await join(stack, mesh, settings.retriever_address, "rag.v1.RetrieverService")
    return Stages(
        reader=await stack.enter_async_context(ChildReader.open(_reader_limits(settings))),
        counter=await asyncio.to_thread(lambda: WordpieceTokens(tokenizer_path())),
        embedder=GrpcEmbedder(embedder, settings.embed_timeout_s),
        index=GrpcIndex(retriever),
        sizes=Sizes(settings.passage_tokens, settings.passage_overlap_tokens),
        batch_tokens=settings.embed_batch_tokens,
    )


async def _webhooks(
    settings: IngestorSettings, stack: AsyncExitStack, redis: Redis, jobs: RedisJobs
) -> Webhooks | None:
    if not settings.webhook_url:
        return None
    client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
    secret = secret_of(settings.webhook_secret.get_secret_value())
    return Webhooks(RedisEndedJobs(redis), jobs, HttpxReceiver(client, settings.webhook_url), secret)


def _fetch_rules(settings: IngestorSettings) -> FetchRules:
    return FetchRules(settings.urls_enabled, settings.url_timeout_s, settings.url_networks)


def _queue_rules(settings: IngestorSettings) -> QueueRules:
    return QueueRules(
        lease_ms=settings.lease_ms,
        max_attempts=settings.max_attempts,
        keep_ms=settings.job_keep_s * 1000,
        tell_ends=bool(settings.webhook_url),
    )


def _worker_rules(settings: IngestorSettings) -> WorkerRules:
    return WorkerRules(
        concurrency=settings.concurrency,
        spare=settings.spare,
        heartbeat_s=settings.heartbeat_ms / 1000,
        progress_s=settings.progress_ms / 1000,
        job_deadline_s=settings.job_deadline_s,
    )
