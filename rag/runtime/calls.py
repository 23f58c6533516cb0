"""One served call: its context, its place among the calls taken on, its error, its metrics, its trace, its log line."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from rag.ids import new_id
from rag.runtime import context, tracing
from rag.runtime.access import Identity, check_scope, required_scope
from rag.runtime.context import CallContext
from rag.runtime.errors import Internal, InvalidInput, Overloaded, RagError
from rag.runtime.incoming import Incoming
from rag.runtime.logs import get_logger
from rag.runtime.metrics import SERVER, CallMetrics, Method
from rag.runtime.status import code_of, to_status

Context = grpc.aio.ServicerContext[Any, Any]

REQUEST_ID = "x-request-id"
Identify = Callable[[Mapping[str, str], str], Awaitable[Identity]]
"""Tells who calls, from the metadata of a call and the address it comes from."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

log = get_logger(__name__)


def valid_request_id(value: str) -> str:
    """Return a request id that came from outside, or a new one when it is missing or malformed."""
    return value if _REQUEST_ID.fullmatch(value) else new_id("req")


@dataclass(slots=True)
class Admission:
    """How many calls a server takes on at once, and from whom."""

    limit: int
    timeout_s: float
    identify: Identify
    running: int = 0

    def enter(self) -> None:
        """Count a call in.

        Raises:
            Overloaded: TOO_MANY_CALLS.
        """
        if self.running >= self.limit:
            raise Overloaded("The service is serving as many calls as it can.", "TOO_MANY_CALLS", 1.0)
        self.running += 1

    def leave(self) -> None:
        """Count a call out."""
        self.running -= 1


class ServedCall:
    """The life of one call on the server, as an async context manager around its handler."""

    def __init__(self, admission: Admission, method: Method, grpc_context: Context) -> None:
        self.incoming: Incoming | None = None
        self._admission = admission
        self._method = method
        self._grpc = grpc_context
        self._admitted = False
        self.metrics = CallMetrics(SERVER, method)
        metadata = tuple(grpc_context.invocation_metadata() or ())
        self._texts = _texts(metadata)
        self._span = tracing.continue_trace(metadata, f"{method.service}/{method.name}")
        self._request_id = valid_request_id(self._texts.get(REQUEST_ID, ""))

    async def __aenter__(self) -> Self:
        # Trailing, not initial: initial metadata would commit the call, and a committed call is not retried.
        self._grpc.set_trailing_metadata(((REQUEST_ID, self._request_id),))
        try:
            await self._open()
        except RagError as error:
            await self._refuse(error)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        try:
            await self._settle(error)
        finally:
            if self.incoming is not None:
                self.incoming.close()

    async def _settle(self, error: BaseException | None) -> None:
        if self._admitted:
            self._admission.leave()
        if error is None:
            self._end("OK")
        elif isinstance(error, asyncio.CancelledError | GeneratorExit):
            self._end("DEADLINE_EXCEEDED" if self._timed_out() else "CANCELLED")
        elif isinstance(error, grpc.aio.AbortError):
            self._end(_status_name(self._grpc.code()))
        elif isinstance(error, RagError):
            await self._refuse(error)
        elif isinstance(error, Exception):
            await self._unexpected(error)

    async def _open(self) -> None:
        who = await self._admission.identify(self._texts, self._grpc.peer())
        check_scope(who, required_scope(self._method.service, self._method.name))
        context.use(CallContext(self._request_id, who.tenant, self._deadline(), who.scopes, who.subject))
        self._admission.enter()
        self._admitted = True

    def _deadline(self) -> float:
        left = self._grpc.time_remaining()
        allowed = self._admission.timeout_s
        return time.monotonic() + (allowed if left is None else min(left, allowed))

    def _timed_out(self) -> bool:
        left = self._grpc.time_remaining()
        return left is not None and left <= 0

    async def _unexpected(self, error: Exception) -> None:
        if self._grpc.done():  # the writer found the caller gone: nobody is there to be told
            self._end("CANCELLED")
            return
        log.error("unexpected_error", method=self._method.name, exc_info=error)
        await self._refuse(Internal("Internal error.", "INTERNAL"))

    async def _refuse(self, error: RagError) -> None:
        cause = error.__cause__
        self._end(code_of(error).name, reason=error.reason, **({"cause": repr(cause)} if cause else {}))
        status = rpc_status.to_status(to_status(error))
        if self.incoming is not None:
            await self.incoming.hear_out()
        trailing = (*(status.trailing_metadata or ()), (REQUEST_ID, self._request_id))
        await self._grpc.abort(status.code, status.details, trailing)

    def _end(self, code: str, **fields: str) -> None:
        seconds = self.metrics.end(code)
        tracing.end_span(self._span, code)
        level = "warning" if code in {"INTERNAL", "UNKNOWN", "UNAVAILABLE", "DEADLINE_EXCEEDED"} else "info"
        getattr(log, level)(
            "call", rpc=f"{self._method.service}/{self._method.name}", code=code, ms=round(seconds * 1000, 1), **fields
        )


def _texts(metadata: Iterable[tuple[str, str | bytes]]) -> dict[str, str]:
    """Return the metadata that is text. What comes twice becomes one value, as in HTTP, and is neither of the two."""
    texts: dict[str, str] = {}
    for key, value in metadata:
        if isinstance(value, str):
            texts[key] = f"{texts[key]}, {value}" if key in texts else value
    return texts


def _status_name(code: Any) -> str:
    return code.name if isinstance(code, grpc.StatusCode) else "UNKNOWN"


def parse(deserialize: Any, raw: bytes) -> Any:
    """Turn bytes into a request.

    Raises:
        InvalidInput: BAD_MESSAGE for bytes that are not one, invalid UTF-8 included.
    """
    try:
        return deserialize(raw) if deserialize else raw
    except (DecodeError, UnicodeDecodeError, ValueError) as error:
        raise InvalidInput("The request is not a valid message of its type.", "BAD_MESSAGE") from error
