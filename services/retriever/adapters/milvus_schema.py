"""The collection: its fields, its indexes, and how texts become words."""

from __future__ import annotations

from typing import Any

import grpc
from pymilvus import AsyncMilvusClient, DataType, Function, FunctionType, MilvusException

from services.retriever.opening import Index

METRICS = {"dense": "IP", "sparse": "BM25"}
"""What each leg's field is searched by. The vectors have length 1, so the inner product is their cosine: asked for the cosine, the
embedded engine measures the length of every vector in every search, which takes half as long again."""

_ID = 64
_TOKENIZERS = ("whitespace", "standard")
"""Take the terms apart. The second is for servers that do not know the first: it finds the same, but for terms with signs in them."""
_LOAD_S = 300.0
"""The embedded engine takes in its rows one by one."""
_BODY_BYTES = _WORDS_BYTES = 65_535
"""What a text may take; those of a passage, its title and its headings stay well below it."""
_BM25 = {"bm25_k1": 1.2, "bm25_b": 0.75}
"""How soon a repeated word stops to count, and how much a long passage loses."""


async def create_collection(client: AsyncMilvusClient, index: Index, timeout_s: float, *, embedded: bool) -> None:
    """Create a collection without its indexes."""
    for tokenizer in _TOKENIZERS:
        schema = _schema(index, tokenizer, embedded=embedded)
        # Strong: what was committed must be found at once.
        create = client.create_collection(
            index.collection, schema=schema, consistency_level="Strong", timeout=timeout_s
        )
        try:
            await create
        except MilvusException as error:
            if "tokenizer" not in str(error.message) or tokenizer == _TOKENIZERS[-1]:
                raise
        else:
            return


async def create_indexes(client: AsyncMilvusClient, name: str, timeout_s: float, *, embedded: bool) -> None:
    """Create a collection's indexes where missing: a process that died before left them to be done."""
    for field in METRICS:
        if not await client.list_indexes(name, field_name=field, timeout=timeout_s):
            await _create_index(client, name, _index(field, embedded=embedded), timeout_s)


async def load_collection(client: AsyncMilvusClient, name: str) -> None:
    """Make a collection ready for searches: the embedded engine searches nothing else."""
    await client.load_collection(name, timeout=_LOAD_S)


async def _create_index(client: AsyncMilvusClient, name: str, params: Any, timeout_s: float) -> None:
    try:
        await client.create_index(name, index_params=params, timeout=timeout_s)
    except grpc.RpcError as error:
        # The index is there, but pymilvus has no way to wait for it; loading waits too.
        if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
            raise


def _schema(index: Index, tokenizer: str, *, embedded: bool) -> Any:
    schema = AsyncMilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=2 * _ID + 48)
    # As a partition key the embedded engine would fail every filter on the tenant.
    tenant: dict[str, Any] = {} if embedded else {"is_partition_key": True}
    schema.add_field("tenant", DataType.VARCHAR, max_length=_ID, **tenant)
    schema.add_field("document_id", DataType.VARCHAR, max_length=_ID)
    schema.add_field("version", DataType.INT64)
    schema.add_field("body", DataType.VARCHAR, max_length=_BODY_BYTES)
    # The terms are made by us (see `analysis`), the same for every engine: here they are only taken apart again.
    terms = {"tokenizer": tokenizer}
    schema.add_field("words", DataType.VARCHAR, max_length=_WORDS_BYTES, enable_analyzer=True, analyzer_params=terms)
    schema.add_field("metadata", DataType.JSON)
    schema.add_field("dense", DataType.FLOAT_VECTOR, dim=index.model.dimension)
    schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(Function("bm25", FunctionType.BM25, ["words"], ["sparse"]))
    return schema


def _index(field: str, *, embedded: bool) -> Any:
    dense = "FLAT" if embedded else "AUTOINDEX"
    index = AsyncMilvusClient.prepare_index_params()
    kind = dense if field == "dense" else "SPARSE_INVERTED_INDEX"
    params = {} if field == "dense" else _BM25
    index.add_index(field, index_type=kind, metric_type=METRICS[field], params=params)
    return index
