"""A gRPC client that knows an address and nothing else: it learns the contract by server reflection, as grpcurl does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


class ReflectingClient:
    """Calls by name, with JSON in and out."""

    def __init__(self, address: str) -> None:
        self._address = address
        # The reflection client of the grpc package is synchronous; it is asked once, before the calls.
        self._database = ProtoReflectionDescriptorDatabase(grpc.insecure_channel(address))
        self._pool = DescriptorPool(self._database)

    def services(self) -> set[str]:
        return set(self._database.get_services())

    async def stream(self, service: str, method: str, request: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        descriptor = self._pool.FindServiceByName(service).FindMethodByName(method)
        input_type, output_type = (
            message_factory.GetMessageClass(kind) for kind in (descriptor.input_type, descriptor.output_type)
        )
        async with grpc.aio.insecure_channel(self._address) as channel:
            call = channel.unary_stream(
                f"/{service}/{method}",
                request_serializer=input_type.SerializeToString,
                response_deserializer=output_type.FromString,
            )
            async for message in call(json_format.ParseDict(request, input_type()), timeout=60):
                yield json_format.MessageToDict(message, preserving_proto_field_name=True)
