"""The one table between our errors and gRPC statuses, in both directions."""

from __future__ import annotations

from typing import TypeVar

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from rag.runtime import errors
from rag.runtime.errors import Overloaded, RagError

DOMAIN = "ragmesh"
_MAX_MESSAGE = 1_000  # metadata of more than 8 KiB is cut or refused on the way

_CODES: dict[type[RagError], grpc.StatusCode] = {
    errors.InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    errors.TooLarge: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.Conflict: grpc.StatusCode.ABORTED,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.Internal: grpc.StatusCode.INTERNAL,
}
# RESOURCE_EXHAUSTED is read back by its details: with a RetryInfo it is Overloaded, without one TooLarge.
_ERRORS: dict[grpc.StatusCode, type[RagError]] = {
    **{code: kind for kind, code in _CODES.items() if kind is not Overloaded},
    grpc.StatusCode.OUT_OF_RANGE: errors.InvalidInput,
}
_STRANGE = {"NO_IDENTITY", "BAD_IDENTITY"}
"""What a service says to one that cannot prove that it is one of them."""


def code_of(error: RagError) -> grpc.StatusCode:
    """Return the gRPC status code of an error."""
    return next(_CODES[kind] for kind in type(error).__mro__ if kind in _CODES)


def to_status(error: RagError) -> status_pb2.Status:
    """Return an error as a google.rpc.Status with one ErrorInfo, and a RetryInfo when the caller may come back."""
    number: int = code_of(error).value[0]
    status = status_pb2.Status(code=number, message=error.message[:_MAX_MESSAGE])
    _add(status, error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata))
    if isinstance(error, Overloaded):
        delay = Duration()
        delay.FromMilliseconds(round(error.retry_after_s * 1000))
        _add(status, error_details_pb2.RetryInfo(retry_delay=delay))
    return status


def from_rpc_error(error: grpc.aio.AioRpcError, peer: str) -> RagError:
    """Return the error that a call to `peer` ended with, as the callee raised it.

    A failure of the callee's own (UNKNOWN, INTERNAL) and one without details keep their text for the log only.
    """
    status = rpc_status.from_call(error)
    info = _find(status, error_details_pb2.ErrorInfo())
    retry = _find(status, error_details_pb2.RetryInfo())
    if status is None or info is None or info.domain != DOMAIN:
        return _bare(error, peer)
    if retry is not None:
        return Overloaded(status.message, info.reason, retry.retry_delay.ToMilliseconds() / 1000, **info.metadata)
    # That services do not know each other is no fault of whoever asked the first of them.
    kind = errors.Unavailable if info.reason in _STRANGE else _ERRORS.get(error.code(), errors.Internal)
    return kind(status.message, info.reason, **info.metadata)


def _bare(error: grpc.aio.AioRpcError, peer: str) -> RagError:
    code = error.code()
    if code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}:
        return errors.Unavailable(f"The {peer} cannot be reached.", f"{peer.upper()}_UNAVAILABLE")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return errors.DeadlineExceeded(f"The {peer} did not answer in time.", "DEADLINE_EXCEEDED")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return errors.TooLarge(f"A message to or from the {peer} is too large.", "MESSAGE_TOO_LARGE")
    return errors.Internal("Internal error.", "INTERNAL")


def _add(status: status_pb2.Status, detail: error_details_pb2.ErrorInfo | error_details_pb2.RetryInfo) -> None:
    packed = AnyMessage()
    packed.Pack(detail)
    status.details.append(packed)


_Detail = TypeVar("_Detail", error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo)


def _find(status: status_pb2.Status | None, detail: _Detail) -> _Detail | None:
    for packed in status.details if status else ():
        if packed.Unpack(detail):
            return detail
    return None
