"""Reads of Milvus past the results of pymilvus, whose objects for each hit and each field cost more than the search.

The requests, the channel with its credentials, and the trying again are pymilvus's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from pymilvus import AsyncMilvusClient
from pymilvus.client.prepare import Prepare
from pymilvus.client.utils import check_status
from pymilvus.decorators import retry_on_rpc_failure

from rag.vectors import Vectors

_DEFAULT_CONSISTENCY = {"use_default_consistency": True, "guarantee_timestamp": 1}
"""That of the collection."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """What to look for in a field: a vector or words, up to `limit` rows for which `where` holds, best first."""

    field: str
    metric: str
    data: Vectors | str
    where: str
    limit: int


async def find(client: AsyncMilvusClient, name: str, wanted: Nearest, timeout_s: float) -> list[tuple[str, float]]:
    """Return the keys of the rows found, best first, with the engine's scores."""
    request = Prepare.search_requests_with_expr(
        name,
        wanted.field,
        {"metric_type": wanted.metric},
        wanted.limit,
        data=[wanted.data],
        expr=wanted.where,
        **_DEFAULT_CONSISTENCY,
    )
    found = (await _call(client, "Search", request, timeout_s)).results
    return list(zip(found.ids.str_id.data, found.scores, strict=True))


async def read(
    client: AsyncMilvusClient, name: str, where: str, fields: list[str], timeout_s: float
) -> list[dict[str, Any]]:
    """Return the wanted fields, texts or vectors, of all rows that an expression holds for."""
    request = Prepare.query_request(name, where, fields, None, **_DEFAULT_CONSISTENCY)
    answer = await _call(client, "Query", request, timeout_s)
    # There are engines that give an empty field beside those asked for.
    columns = [_column(field) for field in sorted(answer.fields_data, key=_name) if field.field_name in fields]
    return [dict(zip(sorted(fields), row, strict=True)) for row in zip(*columns, strict=True)]


def _name(field: Any) -> str:
    return str(field.field_name)


def _column(field: Any) -> Any:
    if field.HasField("vectors"):
        values = np.array(field.vectors.float_vector.data, dtype=np.float32)
        return values.reshape(-1, field.vectors.dim or 1)
    return field.scalars.string_data.data


async def _call(client: AsyncMilvusClient, method: str, request: Any, timeout_s: float) -> Any:
    handler = await client._get_connection()  # noqa: SLF001 - there is no public door to the stub
    metadata = client._generate_call_context().to_grpc_metadata()  # noqa: SLF001
    return await _answer(handler, method, request, metadata, timeout=timeout_s)


@retry_on_rpc_failure()  # type: ignore[untyped-decorator]
async def _answer(handler: Any, method: str, request: Any, metadata: Any, timeout: float) -> Any:
    answer = await getattr(handler._async_stub, method)(request, timeout=timeout, metadata=metadata)  # noqa: SLF001
    check_status(answer.status)
    return answer
