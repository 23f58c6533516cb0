"""`ragmesh search`: what the index finds, and why."""

from __future__ import annotations

from contextlib import aclosing
from typing import Annotated, Any

import typer
from rich.text import Text

from rag.cli.asking import Documents, MinScore, ModeOption, TopK, Where, retrieval
from rag.cli.terminal import DEFAULT_ADDRESS, Address, Json, connected, err, out, print_json, print_table, run
from rag.json_shape import to_json
from rag.v1 import retriever_pb2 as pb

_PREVIEW = 300


def search(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    *,
    top_k: TopK = None,
    mode: ModeOption = None,
    min_score: MinScore = None,
    document: Documents = None,
    where: Where = None,
    as_json: Json = False,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Find passages, with the scores of both legs: cosine similarity (dense) and BM25 (keyword)."""
    how = retrieval(top_k, mode, min_score, document or (), where or ())
    run(_search(query, how, address, as_json=as_json))


async def _search(query: str, how: dict[str, Any], address: str, *, as_json: bool) -> int:
    hits: list[pb.Hit] = []
    summary = pb.RetrieveSummary()
    async with connected(address) as rag, aclosing(rag.retrieve(query, **how)) as events:
        async for event in events:
            if event.HasField("hit"):
                hits.append(event.hit)
            elif event.HasField("summary"):
                summary = event.summary
    if as_json:
        for hit in hits:
            print_json(to_json(hit))
        return 0
    _show(hits)
    err.print(Text(_told(summary), style="dim"), soft_wrap=True)
    return 0


def _show(hits: list[pb.Hit]) -> None:
    if not hits:
        err.print("Nothing was found.")
        return
    is_reranked = any(hit.HasField("rerank_score") for hit in hits)
    columns = ["#", "score", "dense", "keyword", *(["reranked"] if is_reranked else []), "document", "page", "passage"]
    rows = [_row(hit, is_reranked=is_reranked) for hit in hits]
    if out.is_terminal:
        rows = [[*row[:-1], row[-1][:_PREVIEW]] for row in rows]
    print_table(columns, rows, may_shrink=["document", "passage"])


def _row(hit: pb.Hit, *, is_reranked: bool) -> list[str]:
    scores = [f"{hit.score:.3f}", _score(hit, "dense_score"), _score(hit, "keyword_score")]
    if is_reranked:
        scores.append(_score(hit, "rerank_score"))
    return [str(hit.rank), *scores, hit.title, str(hit.passage.page or "-"), hit.passage.text]


def _score(hit: pb.Hit, name: str) -> str:
    return f"{getattr(hit, name):.3f}" if hit.HasField(name) else "-"  # type: ignore[arg-type]


def _told(summary: pb.RetrieveSummary) -> str:
    looked = f"{summary.hits} of {summary.dense_candidates} dense and {summary.keyword_candidates} keyword candidates"
    times = ", ".join(
        f"{field.name.removesuffix('_ms').replace('_', ' ')} {value:.0f} ms"
        for field, value in summary.ListFields()
        if field.name.endswith("_ms")
    )
    return f"{looked}; {times}" if times else looked
