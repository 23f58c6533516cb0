"""A service as a process: it starts, says SERVING when its dependencies are warm, and drains when told to stop."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import grpc
import uvloop
from grpc_reflection.v1alpha import reflection
from prometheus_client import start_http_server

from rag.runtime import failpoints, logs, tracing
from rag.runtime.access import Identity
from rag.runtime.calls import Admission, Identify
from rag.runtime.errors import FailedPrecondition, Internal, RagError
from rag.runtime.health import Health
from rag.runtime.interceptor import CallInterceptor
from rag.runtime.loopback import is_loopback
from rag.runtime.mesh import Mesh
from rag.runtime.settings import ServiceSettings, SettingsError, load
from rag.runtime.tasks import cancel_all

log = logs.get_logger(__name__)

_OPTIONS = (
    ("grpc.so_reuseport", 0),  # a second process on the same port must fail, not take half the calls
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    # Above its own cap of about 1000 waiting calls the server drops some as CANCELLED; admission is ours.
    ("grpc.server.max_pending_requests", 10_000),
    ("grpc.server.max_pending_requests_hard_limit", 20_000),
    ("grpc.http2.bdp_probe", 0),  # without it a reader that does not read holds megabytes
)


@dataclass(frozen=True, slots=True)
class Mount:
    """One gRPC service of a room."""

    full_name: str
    """Such as `rag.v1.EmbedderService`; its health has this name too."""
    add: Callable[[grpc.aio.Server], None]
    """Adds the servicer to a server."""
    is_ready: Callable[[], Awaitable[bool]] | None = None
    """The check behind the health of this service; the room's own when not set."""


@dataclass(frozen=True, slots=True)
class Door:
    """How outsiders come in."""

    identify: Identify
    credentials: grpc.ServerCredentials | None
    """For TLS; None for plain text."""


@dataclass(frozen=True, slots=True)
class Room:
    """What a composition root hands to the runtime."""

    name: str
    services: Sequence[Mount]
    is_ready: Callable[[], Awaitable[bool]]
    """Tells whether the dependencies are warm; asked again and again. What it raises counts as no."""
    background: Sequence[Callable[[], Awaitable[None]]] = ()
    """Work that runs while the service serves. One that ends early stops the service, with its reason."""
    door: Door | None = None
    """Who is let in and how, when that is not left to the mesh."""
    before_drain: Callable[[], Awaitable[None]] | None = None
    """Called when the service begins to stop, while it still answers."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Why a service stops, and whether that is a failure."""

    why: str
    failed: bool


S = TypeVar("S", bound=ServiceSettings)
Wire = Callable[[S], AbstractAsyncContextManager[Room]]


def run(kind: type[S], wire: Wire[S], *, spawns: bool = False) -> None:
    """Run one service until SIGTERM or SIGINT; exit 1 with one line when it cannot start or breaks.

    Args:
        kind: Its settings.
        wire: Its composition root.
        spawns: Whether it starts child processes. uvloop forks in a way that runs gRPC's fork handlers, which crash
            about half of the children of a busy server before they begin; asyncio's own loop does not.
    """
    name = kind.__name__.removesuffix("Settings").lower()
    try:
        settings = load(kind)
    except SettingsError as error:
        sys.exit(f"{name}: {error}")
    logs.configure(name, settings.log_format, settings.log_level)
    tracing.configure(name, settings.otlp_endpoint)
    failpoints.arm(settings.failpoint)
    try:
        loop = asyncio.run if spawns else uvloop.run
        loop(_main(settings, wire))
    except RagError as error:
        log.error("cannot_run", reason=error.reason, error=error.message, cause=repr(error.__cause__))
        sys.exit(1)


async def _main(settings: S, wire: Wire[S]) -> None:
    stop: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
    for number in (signal.SIGTERM, signal.SIGINT):
        ended = Ended(f"received {number.name}", failed=False)
        asyncio.get_running_loop().add_signal_handler(number, _resolve, stop, ended)
    _serve_metrics(settings)
    async with wire(settings) as room:
        gc.freeze()  # what is there by now stays: to look through it again and again would stop every call for 0.1 s
        async with serving(settings, room, stop):
            ended = await stop
            log.info("stopping", why=ended.why)
    if ended.failed:
        raise Internal(ended.why, "BACKGROUND_FAILED")


@asynccontextmanager
async def serving(
    settings: ServiceSettings, room: Room, stop: asyncio.Future[Ended] | None = None
) -> AsyncIterator[int]:
    """Serve a room inside a block; yields the bound gRPC port. Leaving the block drains and stops.

    Args:
        settings: Where to listen and how to stop.
        room: What to serve.
        stop: Resolved with the reason when background work ends early.
    """
    health = Health(
        {"": room.is_ready, **{mount.full_name: mount.is_ready or room.is_ready for mount in room.services}}
    )
    door = room.door or _mesh_door(settings)
    admission = Admission(settings.max_concurrent_calls, settings.call_timeout_s, door.identify)
    server = await _build(room, health, admission)
    port = _bind(server, settings, door.credentials)
    await server.start()
    log.info("listening", address=f"{settings.host}:{port}")
    ended: asyncio.Future[Ended] = stop if stop is not None else asyncio.get_running_loop().create_future()
    tasks = [*health.followers(), *(asyncio.create_task(_guard(work, ended)) for work in room.background)]
    try:
        yield port
    finally:
        await _drain(server, health, admission, room, settings)
        await cancel_all(tasks)


async def _build(room: Room, health: Health, admission: Admission) -> grpc.aio.Server:
    server = grpc.aio.server(interceptors=[CallInterceptor(admission)], options=_OPTIONS)
    for mount in room.services:
        mount.add(server)
    await health.add_to(server)
    names = [mount.full_name for mount in room.services]
    reflection.enable_server_reflection([*names, Health.FULL_NAME, reflection.SERVICE_NAME], server)
    return server


def _mesh_door(settings: ServiceSettings) -> Door:
    mesh = Mesh.of(settings)
    if not (settings.mesh_secret.get_secret_value() or mesh.tls or is_loopback(settings.host)):
        why = f"{settings.host} can be reached from other machines, and whoever reaches it is believed; set RAG_MESH_SECRET"
        log.warning("believes_anybody", why=why)

    async def identify(metadata: Mapping[str, str], _address: str) -> Identity:
        return mesh.incoming(metadata)

    return Door(identify, mesh.tls.server() if mesh.tls else None)


def _bind(server: grpc.aio.Server, settings: ServiceSettings, credentials: grpc.ServerCredentials | None) -> int:
    address = f"{settings.host}:{settings.port}"
    try:
        return server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    except RuntimeError as error:
        raise _port_in_use(settings, address, "PORT") from error


def _serve_metrics(settings: ServiceSettings) -> None:
    if settings.metrics_port:
        try:
            start_http_server(settings.metrics_port, settings.host)
        except OSError as error:
            raise _port_in_use(settings, f"{settings.host}:{settings.metrics_port}", "METRICS_PORT") from error


def _port_in_use(settings: ServiceSettings, address: str, variable: str) -> FailedPrecondition:
    name = f"{type(settings).__name__.removesuffix('Settings').upper()}_{variable}"
    message = f"Cannot listen on {address}: is another process using it? {name} chooses another port."
    return FailedPrecondition(message, "PORT_IN_USE")


async def _guard(work: Callable[[], Awaitable[None]], stop: asyncio.Future[Ended]) -> None:
    try:
        await work()
        why = "Background work ended by itself."
    except Exception as error:
        log.error("background_failed", exc_info=error)
        why = f"Background work failed: {error!r}."
    _resolve(stop, Ended(why, failed=True))


def _resolve(stop: asyncio.Future[Ended], ended: Ended) -> None:
    if not stop.done():
        stop.set_result(ended)


async def _drain(
    server: grpc.aio.Server, health: Health, admission: Admission, room: Room, settings: ServiceSettings
) -> None:
    """Say NOT_SERVING, go on for the lame duck's time, let running calls finish within the grace, stop."""
    await health.shut()
    if room.before_drain:
        await room.before_drain()
    await asyncio.sleep(settings.lame_duck_ms / 1000)  # balancers need this long to look elsewhere
    health.end_watches()  # open watches would hold the stop for its full grace
    running = admission.running
    await server.stop(settings.drain_grace_ms / 1000)
    log.info("stopped", calls_drained=running)
