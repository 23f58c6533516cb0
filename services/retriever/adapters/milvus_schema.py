"""The collection: its fields, its indexes, and how texts become words."""

from __future__ import annotations

from typing import Any

from pymilvus import AsyncMilvusClient, DataType, Function, FunctionType

from services.retriever.opening import Index

METRICS = {"dense": "COSINE", "sparse": "BM25"}
"""What each leg's field is searched by."""

_ID = 64
_TEXT_BYTES = 24 * 1024
"""Heading, line feed and text in one field."""


async def ensure_collection(client: AsyncMilvusClient, index: Index, timeout_s: float, *, embedded: bool) -> None:
    """Create the collection and its indexes where missing, and load it: the embedded engine searches nothing else.

    Each is a step of its own: a process that died between them left the later ones to be done.
    """
    name = index.collection
    if not await client.has_collection(name, timeout=timeout_s):
        await client.create_collection(
            name,
            schema=_schema(index, embedded=embedded),
            consistency_level="Strong",  # what was committed must be found at once
            timeout=timeout_s,
        )
    for field in METRICS:
        if not await client.list_indexes(name, field_name=field, timeout=timeout_s):
            await client.create_index(name, index_params=_index(field, embedded=embedded), timeout=timeout_s)
    await client.load_collection(name, timeout=timeout_s)


def _schema(index: Index, *, embedded: bool) -> Any:
    schema = AsyncMilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=2 * _ID + 48)
    # As a partition key the embedded engine would fail every filter on the tenant.
    tenant: dict[str, Any] = {} if embedded else {"is_partition_key": True}
    schema.add_field("tenant", DataType.VARCHAR, max_length=_ID, **tenant)
    schema.add_field("document_id", DataType.VARCHAR, max_length=_ID)
    schema.add_field("passage_id", DataType.VARCHAR, max_length=_ID)
    for name in ("version", "ordinal", "page", "char_start", "char_end", "token_count"):
        schema.add_field(name, DataType.INT64)
    schema.add_field("heading", DataType.VARCHAR, max_length=_TEXT_BYTES)
    analyzer = {"type": index.analyzer}
    schema.add_field("words", DataType.VARCHAR, max_length=_TEXT_BYTES, enable_analyzer=True, analyzer_params=analyzer)
    schema.add_field("metadata", DataType.JSON)
    schema.add_field("dense", DataType.FLOAT_VECTOR, dim=index.model.dimension)
    schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(Function("bm25", FunctionType.BM25, ["words"], ["sparse"]))
    return schema


def _index(field: str, *, embedded: bool) -> Any:
    dense = "FLAT" if embedded else "AUTOINDEX"
    index = AsyncMilvusClient.prepare_index_params()
    kind = dense if field == "dense" else "SPARSE_INVERTED_INDEX"
    index.add_index(field, index_type=kind, metric_type=METRICS[field])
    return index
