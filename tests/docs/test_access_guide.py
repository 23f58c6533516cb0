"""The guide on access names every method of the contract under the scope that it asks for."""

from __future__ import annotations

import re
from pathlib import Path

from google.protobuf.descriptor import FileDescriptor

from rag.runtime.access import required_scope
from rag.v1 import embedder_pb2, gateway_pb2, generator_pb2, ingestor_pb2, retriever_pb2

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "access.md").read_text("utf-8")
FILES: tuple[FileDescriptor, ...] = tuple(
    module.DESCRIPTOR for module in (embedder_pb2, gateway_pb2, generator_pb2, ingestor_pb2, retriever_pb2)
)


def test_each_method_stands_under_its_scope() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ((?:`\w+`(?:, )?)+) \|", GUIDE, re.MULTILINE)
    told = {method: scope for scope, methods in rows for method in re.findall(r"\w+", methods)}
    asked = {
        method.name: required_scope(service.full_name, method.name)
        for file in FILES
        for service in file.services_by_name.values()
        for method in service.methods
    }
    assert told == asked
