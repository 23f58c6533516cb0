"""`make bench-embedder`: how fast the local model is in each precision, alone and with questions beside a document.

The precisions take turns, so that whatever else the machine does hits both.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import itertools
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from bench.report import ROOT, finish
from services.embedder.adapters.onnx_model import OnnxModel, Precision
from services.embedder.batching import Batcher
from services.embedder.caching import Computed
from services.embedder.model import Bounds, Piece

PRECISIONS: Sequence[Precision] = ("fp32", "int8")
QUESTION_TOKENS, PASSAGE_TOKENS, LONG_TOKENS = 10, 122, 220
TEXTS = 64
BETWEEN_QUESTIONS_S = 0.05

Seconds = list[float]


def main() -> None:
    """Measure, print a row for each precision, exit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-tokens", type=int, nargs="+", default=[512])
    arguments = parser.parse_args()
    rows = asyncio.run(measure(arguments.rounds, arguments.threads, arguments.batch_tokens))
    finish("embedder", rows, arguments=vars(arguments))


async def measure(rounds: int, threads: int, batches: Sequence[int]) -> Sequence[Mapping[str, Any]]:
    """Return a row for each precision and size of run."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rag")))
        models = {
            precision: await stack.enter_async_context(OnnxModel.open(folder, threads, precision))
            for precision in PRECISIONS
        }
        texts = await _texts(next(iter(models.values())))
        taken = {pair: _Taken() for pair in itertools.product(PRECISIONS, batches)}
        for _ in range(rounds):
            for (precision, tokens), one in taken.items():
                await one.add(models[precision], tokens, texts)
    return [
        {"precision": precision, "threads": threads, "batch tokens": tokens, **one.row()}
        for (precision, tokens), one in taken.items()
    ]


@dataclasses.dataclass(frozen=True, slots=True)
class _Taken:
    """Seconds of every round."""

    passages: Seconds = dataclasses.field(default_factory=list)
    long: Seconds = dataclasses.field(default_factory=list)
    questions: Seconds = dataclasses.field(default_factory=list)
    beside: Seconds = dataclasses.field(default_factory=list)

    async def add(self, model: OnnxModel, tokens: int, texts: Callable[[int], list[Piece]]) -> None:
        """Measure one round."""
        for into, length in ((self.passages, PASSAGE_TOKENS), (self.long, LONG_TOKENS)):
            async with _batcher(model, tokens) as batcher:
                into.append(await _timed(batcher, texts(length)))
        question = texts(QUESTION_TOKENS)[0]
        await model.encode([question])
        for _ in range(30):
            began = time.perf_counter()
            await model.encode([question])
            self.questions.append(time.perf_counter() - began)
        async with _batcher(model, tokens) as batcher:
            await self._ask_beside(batcher, texts)

    async def _ask_beside(self, batcher: Batcher, texts: Callable[[int], list[Piece]]) -> None:
        """Ask every now and then until a document is through."""
        document = asyncio.create_task(_timed(batcher, texts(LONG_TOKENS)))
        for question in itertools.cycle(texts(QUESTION_TOKENS)):
            await asyncio.sleep(BETWEEN_QUESTIONS_S)
            if document.done():
                break
            self.beside.append(await _timed(batcher, [question]))
        await document

    def row(self) -> dict[str, float]:
        """Return the medians."""
        return {
            f"{PASSAGE_TOKENS} tokens: texts/s": TEXTS / statistics.median(self.passages),
            f"{LONG_TOKENS} tokens: texts/s": TEXTS / statistics.median(self.long),
            "question ms": round(1000 * statistics.median(self.questions), 2),
            "question p95 ms": round(1000 * _p95(self.questions), 2),
            "beside bulk ms": 1000 * statistics.median(self.beside),
            "beside bulk p95 ms": 1000 * _p95(self.beside),
        }


@asynccontextmanager
async def _batcher(model: OnnxModel, tokens: int) -> AsyncIterator[Batcher]:
    batcher = Batcher(model, Bounds(tokens), _keep_nothing, queue_tokens=1 << 20, patience_s=0.003)
    try:
        yield batcher
    finally:
        await batcher.close()


async def _keep_nothing(computed: Sequence[Computed]) -> None:
    del computed


async def _timed(batcher: Batcher, pieces: Sequence[Piece]) -> float:
    began = time.perf_counter()
    await batcher.submit({str(id(piece)): piece for piece in pieces}).result()
    return time.perf_counter() - began


async def _texts(model: OnnxModel) -> Callable[[int], list[Piece]]:
    """Return what gives texts of exactly so many tokens, cut from the documentation."""
    pages = [path.read_text() for path in sorted((ROOT / "docs").rglob("*.md"))]
    full = [piece for piece in await model.prepare([page[:4_000] for page in pages]) if piece.tokens > LONG_TOKENS]
    source = list(itertools.islice(itertools.cycle(full), TEXTS))

    def of(tokens: int) -> list[Piece]:
        return [Piece(piece.content[:tokens].copy(), tokens, truncated=True) for piece in source]

    return of


def _p95(seconds: Sequence[float]) -> float:
    return sorted(seconds)[int(0.95 * (len(seconds) - 1))]


if __name__ == "__main__":
    main()
