"""all-MiniLM-L6-v2 in onnxruntime, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from rag import local_model
from rag.vectors import Vectors
from services.embedder.adapters.onnx_graph import Arithmetic, Float32, ensure_graph
from services.embedder.adapters.onnx_int8 import EXACT, EXACT_VALUE, INT8_VERSION, Int8
from services.embedder.model import Encoded, ModelInfo, Piece

Precision = Literal["int8", "fp32"]
_REVISIONS: dict[Precision, str] = {
    "fp32": local_model.REVISION,
    # In front, because people are shown the beginning of a revision.
    "int8": f"{INT8_VERSION}-{local_model.REVISION}",
}

_FIRST_CHARACTERS = 1_600
"""More than nearly all passages have. A megabyte is not cut into tokens, 300 bytes each, for the sake of 256 of them."""
_LONGEST_WORD = 102
"""What ending inside a word can change: a word has 100 tokens at most, and after it comes the special one."""
_TEXTS_AT_ONCE = 32


class OnnxModel:
    """The local model. One thread runs it and another cuts texts into tokens, so a question is cut while a run goes on.

    Args:
        session: The graph, loaded.
        tokenizer: The model's own, neither cutting nor padding.
        precision: What the graph computes in; vectors of two precisions are those of two revisions.
    """

    def __init__(self, session: onnxruntime.InferenceSession, tokenizer: Tokenizer, precision: Precision) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._info = ModelInfo(
            local_model.MODEL,
            _REVISIONS[precision],
            local_model.DIMENSION,
            local_model.MAX_TOKENS,
            provider="local",
        )
        self._end: int = tokenizer.encode("").ids[-1]
        self._running = ThreadPoolExecutor(1, "model-run")
        self._cutting = ThreadPoolExecutor(1, "model-cut")

    @classmethod
    @asynccontextmanager
    async def open(cls, models: Path, threads: int, precision: Precision) -> AsyncIterator[Self]:
        """Load the model for the length of a block; the first time ever, write its graph into `models`.

        Raises:
            FailedPrecondition: when the published files are missing or changed.
        """
        session = await asyncio.to_thread(_load, models, threads, precision)
        model = cls(session, await asyncio.to_thread(_load_tokenizer), precision)
        try:
            yield model
        finally:
            await asyncio.to_thread(model._stop)

    async def describe(self) -> ModelInfo:
        """Return the model's constants."""
        return self._info

    async def prepare(self, texts: Sequence[str]) -> Sequence[Piece]:
        """Cut the texts into token ids, int64, the two special ones included."""
        return await asyncio.get_running_loop().run_in_executor(self._cutting, self._cut_all, texts)

    async def encode(self, pieces: Sequence[Piece]) -> Encoded:
        """Run the graph once; padding is masked and changes no vector."""
        vectors = await asyncio.get_running_loop().run_in_executor(self._running, self._run, pieces)
        return Encoded(vectors, sum(piece.tokens for piece in pieces))

    def _cut_all(self, texts: Sequence[str]) -> Sequence[Piece]:
        pieces: list[Piece] = []
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            part = texts[start : start + _TEXTS_AT_ONCE]
            # The batch calls let go of the interpreter's lock; `encode` holds it, and with it the event loop.
            encodings = self._tokenizer.encode_batch_fast([text[:_FIRST_CHARACTERS] for text in part])
            pieces += [self._cut(text, encoding.ids) for text, encoding in zip(part, encodings, strict=True)]
        return pieces

    def _cut(self, text: str, ids: list[int]) -> Piece:
        length = _FIRST_CHARACTERS
        while length < len(text) and len(ids) <= local_model.MAX_TOKENS + _LONGEST_WORD:
            length += (
                length // 4
            )  # small steps, or a text that is blank for long could then bring all its tokens at once
            ids = self._tokenizer.encode_batch_fast([text[:length]])[0].ids
        truncated = len(ids) > local_model.MAX_TOKENS
        if truncated:
            ids = [*ids[: local_model.MAX_TOKENS - 1], self._end]
        return Piece(np.array(ids, dtype=np.int64), len(ids), truncated)

    def _run(self, pieces: Sequence[Piece]) -> Vectors:
        ids, mask = _rectangle([piece.content for piece in pieces])
        vectors: Vectors = self._session.run(["vectors"], {"ids": ids, "mask": mask})[0]
        return vectors

    def _stop(self) -> None:
        self._running.shutdown(cancel_futures=True)
        self._cutting.shutdown(cancel_futures=True)


def _rectangle(rows: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    shape = len(rows), max(len(row) for row in rows)
    ids, mask = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return ids, mask


def _load(models: Path, threads: int, precision: Precision) -> onnxruntime.InferenceSession:
    if precision == "fp32":
        return _open(models, threads, "fp32", Float32())
    session = _open(models, threads, INT8_VERSION, Int8("signed"))
    return session if is_exact(session) else _open(models, threads, f"{INT8_VERSION}-unsigned", Int8("unsigned"))


def _open(models: Path, threads: int, kind: str, arithmetic: Arithmetic) -> onnxruntime.InferenceSession:
    name = f"{local_model.MODEL}-{local_model.REVISION}-{kind}"
    graph = ensure_graph(local_model.weights_path, models, name, arithmetic)
    return onnxruntime.InferenceSession(str(graph), _options(threads), providers=["CPUExecutionProvider"])


def is_exact(session: onnxruntime.InferenceSession) -> bool:
    """Tell whether this processor adds the products of bytes in this graph without saturating."""
    text = np.ones((1, 1), dtype=np.int64)
    (sums,) = session.run([EXACT], {"ids": text, "mask": text})
    return bool((sums == EXACT_VALUE).all())


def _load_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(local_model.tokenizer_path()))
    # The published file pads everything to 128 tokens and cuts there; the model was trained to take 256.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # The arena keeps what the largest run took, which the batches bound: to give it back after each run leaves holes that grow.
    options.enable_mem_pattern = False  # patterns are kept for each shape seen, and hardly two runs have the same
    # Idle threads sleep: spinning would take the cores from the other services between runs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
