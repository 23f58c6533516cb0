"""The process tree: start a Redis and five services, wait until all serve, stop all when one dies or somebody says so."""

from __future__ import annotations

import asyncio
import importlib
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field
from redis.asyncio import Redis
from redis.exceptions import RedisError

from rag import own_redis
from rag.backup import UNFINISHED
from rag.runtime.errors import FailedPrecondition, Unavailable
from rag.runtime.loopback import is_loopback
from rag.runtime.mesh import Mesh, Tls
from rag.runtime.probe import check
from rag.runtime.redis import open_redis
from rag.runtime.settings import ServiceSettings, SharedSettings, child_environment, load, prefix
from services.children import Children
from services.embedded_redis import command, find_binary

SERVICES = ("embedder", "retriever", "generator", "ingestor", "gateway")
"""In the order they are started; they are stopped the other way round, so that no door opens on an empty house."""

_POLL_S = 0.05


class TreeSettings(SharedSettings):
    """What the process tree reads besides what it hands on to the services."""

    model_config = prefix("RAG_")

    redis_url: str = Field(
        "", validation_alias="REDIS_URL", description="A Redis to use; empty starts one of our own in RAG_DATA_DIR."
    )
    start_timeout_s: float = Field(
        180.0, gt=0, description="How long all may take until SERVING; the first start builds the model."
    )
    stop_timeout_s: float = Field(8.0, gt=0, description="How long all may take to stop before they are killed.")


@dataclass(frozen=True, slots=True)
class Ended:
    """Why the tree stops, and with which exit code."""

    why: str
    code: int


async def run_tree(settings: TreeSettings) -> int:
    """Run everything until it ends; return the exit code: 0 when told to stop, 1 when something died."""
    _check_data(settings.data_dir)
    ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
    began = time.monotonic()
    async with Children(_on_exit(ended), settings.stop_timeout_s) as children:
        _stop_on_signals(ended, children)
        starting = asyncio.create_task(_start(settings, children))
        first: set[asyncio.Future[Any]] = {starting, ended}
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            _say(_welcome(starting.result(), time.monotonic() - began))
        starting.cancel()
        why = await ended
        _say(f"stopping: {why.why}")
    _say("stopped")
    return why.code


def _check_data(data_dir: Path) -> None:
    """Refuse half a restore, and remove what backups that died left: it would keep what is deleted from now on."""
    if (data_dir / UNFINISHED).exists():
        message = f"A restore into {data_dir} did not finish: run `ragmesh restore` again."
        raise FailedPrecondition(message, "RESTORE_UNFINISHED")
    (data_dir / "redis" / "dump.rdb").unlink(missing_ok=True)
    shutil.rmtree(data_dir / "snapshots", ignore_errors=True)


async def _start(settings: TreeSettings, children: Children) -> Mapping[str, ServiceSettings]:
    try:
        async with asyncio.timeout(settings.start_timeout_s):
            url = settings.redis_url or await _start_redis(settings.data_dir.resolve(), children)
            return await _start_services(url, children)
    except TimeoutError as error:
        message = f"Not all services were SERVING within {settings.start_timeout_s:g} s; their lines above say why."
        raise Unavailable(message, "START_TIMEOUT") from error


async def _start_redis(data_dir: Path, children: Children) -> str:
    folder, url = own_redis.folder_of(data_dir), own_redis.url_of(data_dir)
    folder.mkdir(parents=True, exist_ok=True)
    await children.start("redis", command(find_binary(), folder), child_environment())
    async with open_redis(url) as redis:
        while not await _answers(redis):
            await asyncio.sleep(_POLL_S)
    return url


async def _start_services(redis_url: str, children: Children) -> Mapping[str, ServiceSettings]:
    rooms = {name: load(settings_of(name)) for name in SERVICES}
    # Whoever moves a service to another port has told everybody.
    addresses = {f"{name.upper()}_ADDRESS": _address(room) for name, room in rooms.items() if name != "gateway"}
    # With an arena for each of its threads, glibc lets a process grow with the work that it has ever done.
    defaults = {"MALLOC_ARENA_MAX": "2", "RETRIEVER_ENGINE_LINGER_S": "0"}  # all stops together
    environment = {**defaults, **_open_door(rooms["gateway"]), **child_environment(REDIS_URL=redis_url, **addresses)}
    for name in SERVICES:
        await children.start(name, [sys.executable, "-m", f"services.{name}"], environment)
    # The gateway's own port is for outsiders: it asks for no certificate.
    tls = {name: Mesh.of(room).tls if name != "gateway" else None for name, room in rooms.items()}
    await asyncio.gather(*(_until_serving(_address(room), tls[name]) for name, room in rooms.items()))
    return rooms


def _open_door(gateway: ServiceSettings) -> Mapping[str, str]:
    """Return what lets everybody on this machine in, unless somebody has decided about it."""
    decided = "auth" in gateway.model_fields_set
    reachable = not all(is_loopback(host) for host in (gateway.host, getattr(gateway, "http_host", "")))
    return {} if decided or reachable else {"GATEWAY_AUTH": "off"}


async def _answers(redis: Redis) -> bool:
    try:
        return bool(await redis.ping())
    except RedisError:  # not listening yet, or still loading its file
        return False


async def _until_serving(address: str, tls: Tls | None) -> None:
    while await asyncio.to_thread(check, address, "", 1.0, tls) != "SERVING":
        await asyncio.sleep(_POLL_S)


def settings_of(name: str) -> type[ServiceSettings]:
    """Return the settings class of a service."""
    module = importlib.import_module(f"services.{name}.settings")
    kind: type[ServiceSettings] = getattr(module, f"{name.capitalize()}Settings")
    return kind


def _address(room: ServiceSettings) -> str:
    return f"{room.host}:{room.port}"


def _on_exit(ended: asyncio.Future[Ended]) -> Callable[[str, int], None]:
    def on_exit(name: str, code: int) -> None:
        if not ended.done():
            ended.set_result(Ended(f"{name} ended with exit code {code}; its last lines are above", 1))

    return on_exit


def _stop_on_signals(ended: asyncio.Future[Ended], children: Children) -> None:
    def stop(number: signal.Signals) -> None:
        if ended.done():
            children.kill()  # told twice: now
        else:
            ended.set_result(Ended(f"received {number.name}", 0))

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)


def _welcome(rooms: Mapping[str, ServiceSettings], seconds: float) -> str:
    gateway = rooms["gateway"]
    http = f"http://{getattr(gateway, 'http_host', gateway.host)}:{getattr(gateway, 'http_port', 8080)}"
    inside = "  ".join(f"{name} {_address(room)}" for name, room in rooms.items() if name != "gateway")
    return (
        f"all five services are SERVING after {seconds:.1f} s\n"
        f"  web page      {http}/\n"
        f"  REST and SSE  {http}/v1   (described at {http}/docs)\n"
        f"  gRPC          {_address(gateway)}\n"
        f"  inside        {inside}\n"
        f"{_who_may(gateway)}"
        "Ctrl-C stops everything."
    )


def _who_may(gateway: ServiceSettings) -> str:
    if _open_door(gateway) or getattr(gateway, "auth", "on") == "off":
        return "  authentication is off: every program on this machine may do all (GATEWAY_AUTH=on changes that)\n"
    return "  authentication is on: `ragmesh keys create` makes a key\n"


def _say(text: str) -> None:
    for line in text.splitlines():
        sys.stdout.write(f"ragmesh   | {line}\n")
    sys.stdout.flush()
