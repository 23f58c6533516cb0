"""Passages for measurements: texts mixed from a corpus, vectors in clusters, spread over tenants; the same for the same number."""

from __future__ import annotations

import json
import random
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from bench.report import ROOT
from rag.v1 import embedder_pb2, passage_pb2
from rag.v1 import retriever_pb2 as pb
from rag.vectors import Vectors, pack
from tests.retriever.room import LetterEmbedder

DIMENSION = 384
PER_DOCUMENT = 100
MODEL, REVISION = "clusters", "r1"
BIG = "big"
_SMALL_TENANTS = 9
_WORDS = 140
_RUN = 28
_CLUSTERS = 256
_NOISE = 1.2


class Corpus:
    """Words to mix texts from.

    Args:
        folder: Where .jsonl (with `text`), .md and .txt files are; the project's own documentation without one.
    """

    def __init__(self, folder: Path | None) -> None:
        self._words = [word for text in _texts(folder or ROOT / "docs") for word in re.findall(r"\S+", text)]
        self._centres = np.random.default_rng(7).standard_normal((_CLUSTERS, DIMENSION)).astype(np.float32)

    def text(self, number: int) -> str:
        """Return the text of a passage: runs of words from several places."""
        chance = random.Random(f"text {number}")
        return " ".join(self._run(chance, _RUN) for _ in range(_WORDS // _RUN))

    def query(self, number: int) -> str:
        """Return a query: some words of a text in their order."""
        words = re.findall(r"[a-zA-Z]{2,}", self._run(random.Random(f"query {number}"), _RUN))
        return " ".join(words[:10]) or "passage"

    def vector(self, seed: int) -> Vectors:
        """Return a vector of length 1, near the middle of one of the clusters."""
        chance = np.random.default_rng(seed)
        values = self._centres[chance.integers(_CLUSTERS)] + _NOISE * chance.standard_normal(DIMENSION)
        return np.asarray(values / np.linalg.norm(values), dtype=np.float32)

    def document(self, number: int) -> Iterator[pb.IndexRequest]:
        """Yield a document as it is indexed."""
        title = self.query(-number)
        yield pb.IndexRequest(
            header=pb.IndexHeader(
                document_id=f"d{number}", name=f"d{number}.txt", media_type="text/plain", content_hash=f"{number:064x}",
                size_bytes=1, model=MODEL, revision=REVISION, dimension=DIMENSION, title=title,
            )
        )  # fmt: skip
        numbers = range(PER_DOCUMENT * number, PER_DOCUMENT * (number + 1))
        passages = [self._passage(ordinal, number) for ordinal, number in enumerate(numbers)]
        vectors = pack(np.stack([self.vector(number) for number in numbers]))
        yield pb.IndexRequest(passages=pb.IndexPassages(passages=passages, vectors=vectors))
        yield pb.IndexRequest(commit=pb.IndexCommit(passage_count=PER_DOCUMENT, title=title, page_count=1))

    def _passage(self, ordinal: int, number: int) -> passage_pb2.Passage:
        text = self.text(number)
        return passage_pb2.Passage(
            id=f"p{number}", ordinal=ordinal, text=text, heading=f"Section {ordinal // 10}", page=1 + ordinal // 4,
            char_start=1000 * ordinal, char_end=1000 * ordinal + len(text), token_count=_WORDS,
        )  # fmt: skip

    def _run(self, chance: random.Random, words: int) -> str:
        start = chance.randrange(max(len(self._words) - words, 1))
        return " ".join(self._words[start : start + words])


class AtOnce(LetterEmbedder):
    """Answers with a vector that is made from the text's hash."""

    def __init__(self, corpus: Corpus) -> None:
        super().__init__(model=MODEL, revision=REVISION)
        self._corpus = corpus

    async def Embed(self, request: Any, context: Any) -> AsyncIterator[embedder_pb2.EmbedResponse]:  # noqa: ARG002, N802
        """One answer."""
        vectors = np.stack([self._corpus.vector(crc32(text.encode())) for text in request.texts])
        yield embedder_pb2.EmbedResponse(
            count=len(vectors), dimension=DIMENSION, values=pack(vectors), model=MODEL, revision=REVISION
        )

    async def GetModel(self, request: Any, context: Any) -> embedder_pb2.GetModelResponse:  # noqa: ARG002, N802
        """Which model it says to be."""
        return embedder_pb2.GetModelResponse(model=MODEL, revision=REVISION, dimension=DIMENSION)


def tenant_of(number: int) -> str:
    """Return the tenant of a document: one has four of five, the others share the rest."""
    return BIG if number % 5 else f"small-{number // 5 % _SMALL_TENANTS}"


def _texts(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".jsonl":
            yield from (json.loads(line).get("text", "") for line in path.read_text(errors="ignore").splitlines())
        elif path.suffix in {".md", ".txt"}:
            yield path.read_text(errors="ignore")
