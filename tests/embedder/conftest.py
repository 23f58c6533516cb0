"""Models, real and fake, and a served embedder."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

import grpc
import numpy as np
import pytest

from rag.runtime.errors import InvalidInput, RagError
from rag.runtime.server import serving
from rag.v1.embedder_pb2_grpc import EmbedderServiceStub
from services.embedder.adapters.onnx_model import OnnxModel
from services.embedder.model import Encoded, ModelInfo, Piece
from services.embedder.settings import EmbedderSettings
from services.embedder.wiring import wire

DIMENSION = 8


def vector_of(text: str) -> np.ndarray:
    values = np.frombuffer(hashlib.shake_256(text.encode()).digest(4 * DIMENSION), "<u4").astype(np.float64)
    return (values / np.linalg.norm(values)).astype(np.float32)


class FakeModel:
    """A token is a word; a text of more than ten is cut. Runs wait for `gate` when there is one."""

    def __init__(self) -> None:
        self.runs: list[list[str]] = []
        self.prepared = 0
        self.gate: asyncio.Semaphore | None = None
        self.started = asyncio.Semaphore(0)
        self.ended: list[list[str]] = []
        self.error: RagError | Exception | None = None
        self.bad_text: str | None = None
        self.most_texts = 1_000_000

    async def describe(self) -> ModelInfo:
        return ModelInfo("fake", "r1", DIMENSION, 10, "local")

    async def prepare(self, texts: Sequence[str]) -> Sequence[Piece]:
        self.prepared += len(texts)
        return [Piece(text, min(10, len(text.split())), len(text.split()) > 10) for text in texts]

    async def encode(self, pieces: Sequence[Piece]) -> Encoded:
        texts = [piece.content for piece in pieces]
        self.runs.append(texts)
        self.started.release()
        if self.gate is not None:
            await self.gate.acquire()
        if self.error is not None:
            raise self.error
        if self.bad_text in texts or len(texts) > self.most_texts:
            raise InvalidInput("A text is bad.", "TEXT_TOO_LONG")
        self.ended.append(texts)
        return Encoded(np.stack([vector_of(text) for text in texts]), sum(piece.tokens for piece in pieces))


@pytest.fixture
def fake_model() -> FakeModel:
    return FakeModel()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where the local model's graph is written once for all tests."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
async def onnx_model(models: Path) -> AsyncIterator[OnnxModel]:
    """In float32, as published."""
    async with OnnxModel.open(models / "models", threads=2, precision="fp32") as model:
        yield model


@pytest.fixture
async def int8_model(models: Path) -> AsyncIterator[OnnxModel]:
    """In 8-bit integers."""
    async with OnnxModel.open(models / "models", threads=2, precision="int8") as model:
        yield model


class Serve(Protocol):
    def __call__(self, **settings: object) -> AbstractAsyncContextManager[EmbedderServiceStub]: ...


@pytest.fixture
def serve(models: Path, redis_url: str) -> Serve:
    """Serves a wired embedder and yields a stub for it."""

    @asynccontextmanager
    async def run(**changes: object) -> AsyncIterator[EmbedderServiceStub]:
        given = {"data_dir": models, "redis_url": redis_url, "lame_duck_ms": 0} | changes
        settings = EmbedderSettings(_env_file=None, port=0, metrics_port=0, **given)
        async with wire(settings) as room, serving(settings, room) as port:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                stub = EmbedderServiceStub(channel)
                stub.address = f"127.0.0.1:{port}"
                yield stub

    return run
