"""Health per service name: SERVING only while the service's own dependencies are warm."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME
from grpc_health.v1.health import aio as health_aio

from rag.runtime.logs import get_logger

log = get_logger(__name__)

Check = Callable[[], Awaitable[bool]]

_CHECK_S = 2.0
_WARM_UP_CHECK_S = 0.1
_CHECK_TIMEOUT_S = 5.0
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class _Watched(health_aio.HealthServicer):  # type: ignore[misc]  # published without types
    """The health service, with watches that can be ended."""

    def __init__(self) -> None:
        super().__init__()
        self.watches: set[asyncio.Task[None]] = set()

    async def Watch(self, request: Any, context: Any) -> None:  # noqa: N802 - named by the contract
        watch = asyncio.create_task(super().Watch(request, context))
        self.watches.add(watch)
        try:
            await asyncio.wait({watch})
            if not watch.cancelled():
                watch.result()
        finally:
            watch.cancel()
            self.watches.discard(watch)


class Health:
    """The health of one server: a check for each service name, and one for the server as a whole under ""."""

    FULL_NAME: str = SERVICE_NAME

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._servicer = _Watched()
        self._checks = checks

    async def add_to(self, server: grpc.aio.Server) -> None:
        """Add the health service to a server; every name is NOT_SERVING until its check says otherwise."""
        for name in self._checks:
            await self._servicer.set(name, _NOT_SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    def followers(self) -> list[asyncio.Task[None]]:
        """Start to keep every status true to its check; return the tasks that do."""
        names: dict[Check, list[str]] = {}
        for name, check in self._checks.items():
            names.setdefault(check, []).append(name)
        return [asyncio.create_task(self._follow(its_names, check)) for check, its_names in names.items()]

    async def shut(self) -> None:
        """Say NOT_SERVING for good: the server is going down."""
        await self._servicer.enter_graceful_shutdown()

    def end_watches(self) -> None:
        """End all open watches: those who watched have been told."""
        for watch in self._servicer.watches:
            watch.cancel()

    async def _follow(self, names: Sequence[str], check: Check) -> None:
        last = False, ""  # what every name says from the start
        while True:
            ready, why = await _ask(check)
            if (ready, why) != last:
                last = ready, why
                for name in names:
                    await self._servicer.set(name, _SERVING if ready else _NOT_SERVING)
                log.info(
                    "serving" if ready else "not_serving",
                    names=[name or "all" for name in names],
                    **({"why": why} if why else {}),
                )
            # Rare while all is well, often while others wait for us to come up.
            await asyncio.sleep(_CHECK_S if ready else _WARM_UP_CHECK_S)


async def _ask(check: Check) -> tuple[bool, str]:
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT_S):
            return await check(), ""
    except Exception as error:  # noqa: BLE001 - any failure of a dependency reads as "not warm", with its reason
        return False, repr(error)
