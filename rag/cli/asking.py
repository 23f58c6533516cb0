"""What `ask`, `chat` and `search` share: how passages are looked for."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from rag.cli.pairs import metadata_of
from rag.metadata import to_value
from rag.runtime.errors import RagError
from rag.v1 import passage_pb2, retriever_pb2

TopK = Annotated[int | None, typer.Option(min=1, max=100, help="How many passages; the server's default is 8.")]
MinScore = Annotated[float | None, typer.Option(min=-1, max=1, help="The least cosine similarity; not for keyword.")]
Documents = Annotated[
    list[str] | None, typer.Option("--document", metavar="ID", help="Only in this document; may be repeated.")
]
Where = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="Only documents with this metadata; may be repeated."),
]


class Mode(StrEnum):
    """Which legs look for passages."""

    HYBRID = "hybrid"
    DENSE = "dense"
    KEYWORD = "keyword"


ModeOption = Annotated[Mode | None, typer.Option("--mode", help="How to look for passages; hybrid by default.")]


def retrieval(
    top_k: int | None, mode: Mode | None, min_score: float | None, documents: Sequence[str], where: Sequence[str]
) -> dict[str, Any]:
    """Return the arguments of `RagClient.ask` and `RagClient.retrieve` that the options mean.

    Raises:
        BadParameter: metadata that is none.
    """
    try:
        wanted = metadata_of(where)
    except RagError as error:
        raise typer.BadParameter(error.message) from error
    conditions = [passage_pb2.Condition(key=key, equals=to_value(value)) for key, value in wanted.items()]
    narrowed = passage_pb2.Filter(document_ids=documents, conditions=conditions)
    return {
        "top_k": top_k,
        "mode": retriever_pb2.RetrievalMode.Value(f"RETRIEVAL_MODE_{mode.name if mode else 'UNSPECIFIED'}"),
        "min_score": min_score,
        "search_filter": narrowed if documents or conditions else None,
    }
