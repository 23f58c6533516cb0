"""`ragmesh docs` and `ragmesh delete`: what is searchable, and what shall not be any more."""

from __future__ import annotations

from contextlib import aclosing
from typing import Annotated, Any

import typer

from rag.cli.plain import line
from rag.cli.terminal import (
    DEFAULT_ADDRESS,
    Address,
    Json,
    connected,
    err,
    out,
    print_json,
    print_table,
    run,
    say_error,
)
from rag.cli.views import age
from rag.metadata import to_python
from rag.runtime.errors import RagError
from rag.v1 import retriever_pb2 as pb


def docs(
    *,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    as_json: Json = False,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """List the documents that are searchable, newest first."""
    run(_docs(limit, address, as_json=as_json))


def delete(
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="The ids of documents.")],
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Delete documents and end their jobs. They are gone for every reader at once, and erased right after."""
    run(_delete(ids, address))


async def _docs(limit: int, address: str, *, as_json: bool) -> int:
    found: list[pb.Document] = []
    async with connected(address) as rag, aclosing(rag.documents()) as documents:
        async for document in documents:
            found.append(document)
            if len(found) == limit:
                break
    if as_json:
        for document in found:
            print_json(_as_json(document))
    elif found:
        rows = [_row(document) for document in found]
        print_table(["document", "name", "passages", "age"], rows, may_shrink=["name"])
    else:
        err.print("There are no documents.")
    return 0


def _row(document: pb.Document) -> list[str]:
    return [document.id, document.name, str(document.passage_count), age(document.updated_at)]


def _as_json(document: pb.Document) -> dict[str, Any]:
    return {
        "document_id": document.id,
        "version": document.version,
        "name": document.name,
        "title": document.title,
        "media_type": document.media_type,
        "content_hash": document.content_hash,
        "size_bytes": document.size_bytes,
        "pages": document.page_count,
        "passages": document.passage_count,
        "metadata": to_python(document.metadata),
        "created_at": document.created_at.ToJsonString(),
        "updated_at": document.updated_at.ToJsonString(),
    }


async def _delete(ids: list[str], address: str) -> int:
    failed = 0
    async with connected(address) as rag:
        for document_id in ids:
            try:
                await rag.delete(document_id)
            except RagError as error:
                failed += 1
                say_error(error, document_id)
            else:
                out.print(f"deleted  {line(document_id)}", markup=False)
    return 1 if failed else 0
