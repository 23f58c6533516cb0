"""What `ragmesh eval export-feedback` does."""

from __future__ import annotations

from pathlib import Path

from rag.cli.terminal import connected, err
from rag.eval.feedback import export_feedback

_LONG_S = 3_600.0


async def export(folder: Path, most_documents: int, address: str) -> int:
    """Write the folder and say what is in it; the exit code is 0."""
    async with connected(address, _LONG_S) as rag:
        done = await export_feedback(rag, folder, most_documents)
    err.print(
        f"{done.questions} questions and {done.documents} documents are in {folder}.", markup=False, soft_wrap=True
    )
    err.print(
        f"{done.judged} name the documents that their answers cited: correct {folder / 'qrels' / 'test.tsv'} where others "
        f"are right, then run `ragmesh eval {folder}`.",
        markup=False,
        soft_wrap=True,
    )
    return 0
