"""The status of a callee that refuses a stream before it has read all of it.

It closes the stream, so the caller's next message cannot be sent; grpc.aio then reports "Internal error from Core" in place
of the status that is on its way (grpc/grpc#36066). Here a failed send waits for that status first.
"""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from grpc._cython import cygrpc  # type: ignore[attr-defined]  # it has no types

_STATUS_WAIT_S = 1.0

C = TypeVar("C")


def with_early_status(call: C) -> C:
    """Return a call that has just been made with a stream of requests, mended."""
    mended: Any = call
    # Its tasks begin at the next turn of the loop, so nothing has been sent yet. grpc.aio offers no other way in.
    mended._cython_call = _Patient(mended._cython_call)  # noqa: SLF001
    return call


class _Patient:
    def __init__(self, call: Any) -> None:
        self._call = call
        self._status_is_lost = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    async def send_serialized_message(self, message: bytes) -> None:
        try:
            await self._call.send_serialized_message(message)
        except cygrpc.InternalError:
            try:
                async with asyncio.timeout(_STATUS_WAIT_S):
                    await self._call.status()
            except TimeoutError:
                self._status_is_lost = True
            raise

    def set_internal_error(self, text: str) -> None:
        if self._status_is_lost:
            self._call.set_internal_error(text)
