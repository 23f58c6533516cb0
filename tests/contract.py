"""The contract as its descriptors tell it: every method, every field, and calls by name, so that nothing new is overlooked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules

import grpc
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from grpc_status import rpc_status

import rag.v1


def methods() -> list[MethodDescriptor]:
    """Every method of every service."""
    files = [module.name for module in iter_modules(rag.v1.__path__) if module.name.endswith("_pb2")]
    found = [import_module(f"rag.v1.{name}").DESCRIPTOR for name in files]
    services = [service for file in found for service in file.services_by_name.values()]
    return [method for service in services for method in service.methods]


def name_of(method: MethodDescriptor) -> str:
    return f"{method.containing_service.name}/{method.name}"


@dataclass(frozen=True)
class Answer:
    """How a call ended, and all that its caller read."""

    code: grpc.StatusCode
    messages: Sequence[Message] = ()
    reason: str = ""
    details: str = ""
    metadata: Mapping[str, str] | None = None

    def said(self) -> str:
        """All of it as text."""
        return "\n".join([*map(str, self.messages), self.details, str(self.metadata), self.reason])


async def call(
    channel: grpc.aio.Channel, method: MethodDescriptor, requests: Sequence[Message], *metadata: tuple[str, str]
) -> Answer:
    """Call a method with one request, or with a stream of them."""
    rpc = channel.stream_stream(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    messages: list[Message] = []
    try:
        async for message in rpc(iter(requests), metadata=metadata, timeout=30):
            messages.append(message)
    except grpc.aio.AioRpcError as error:
        return _refused(error, messages)
    return Answer(grpc.StatusCode.OK, messages)


def _refused(error: grpc.aio.AioRpcError, messages: Sequence[Message]) -> Answer:
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        detail.Unpack(info)
    return Answer(error.code(), messages, info.reason, error.details() or "", dict(info.metadata))


def string_fields(kind: Descriptor, above: str = "") -> Iterator[str]:
    """The paths of all text fields of a message, those of a map as `map.key` and `map.value`."""
    for field in kind.fields:
        path = f"{above}{field.name}"
        if field.message_type is not None:
            yield from string_fields(field.message_type, f"{path}.")
        elif field.type == FieldDescriptor.TYPE_STRING:
            yield path
