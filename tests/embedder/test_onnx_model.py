from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from rag import local_model
from services.embedder.adapters.onnx_graph import Float32, _write_whole, ensure_graph
from services.embedder.adapters.onnx_model import OnnxModel
from tests.embedder.numpy_bert import NumpyBert

PASSAGE = "The retriever owns the index and the catalogue; a passage is visible once its version is committed. "


@pytest.fixture(scope="module")
def reference() -> NumpyBert:
    return NumpyBert()


async def embed(model: OnnxModel, *texts: str) -> np.ndarray:
    return (await model.encode(await model.prepare(texts))).vectors


@pytest.mark.parametrize(
    ("one", "other", "cosine"),
    [
        # Published on sbert.net for this model.
        ("The weather is lovely today.", "It's so sunny outside!", 0.6660),
        ("The weather is lovely today.", "He drove to the stadium.", 0.1046),
        ("It's so sunny outside!", "He drove to the stadium.", 0.1411),
        ("The cat sits outside", "The dog plays in the garden", 0.2838),
        ("A man is playing guitar", "A woman watches TV", -0.0327),
        ("The new movie is awesome", "The new movie is so great", 0.8939),
    ],
)
async def test_cosines_are_the_published_ones(onnx_model, one, other, cosine):
    first, second = await embed(onnx_model, one, other)
    assert float(first @ second) == pytest.approx(cosine, abs=1e-4)


async def test_vectors_are_those_of_an_independent_computation(onnx_model, reference):
    texts = ["a", "Wie geht es dir, Straße?", "什么是检索增强生成？", "\u200b", "[SEP] [MASK] x", PASSAGE, PASSAGE * 30]
    vectors = await embed(onnx_model, *texts)  # one run: all but the longest are padded
    assert np.abs(vectors - [reference.embed(text) for text in texts]).max() < 1e-4
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


async def test_a_text_has_the_same_vector_alone_and_in_company(onnx_model):
    alone = await embed(onnx_model, "a short question")
    in_company = await embed(onnx_model, "a short question", PASSAGE * 20)
    assert np.abs(alone[0] - in_company[0]).max() < 1e-5


async def test_long_texts_are_cut_at_256_tokens_and_marked(onnx_model, reference):
    words = ["word " * length for length in (254, 255, 5_000)]
    pieces = await onnx_model.prepare(words)
    assert [(piece.tokens, piece.truncated) for piece in pieces] == [(256, False), (256, True), (256, True)]
    assert [piece.content.tolist() for piece in pieces] == [reference.tokenizer.encode(text).ids for text in words]


@pytest.mark.parametrize(
    "text",
    [
        "x" * 150 + " end",
        " " * 5_000 + "late words " * 300,
        "\x00" * 5_000 + "late words",
        "y" * 6_000 + " after a long word " * 200,
        "." * 20_000,
        ("z" * 120 + " ") * 2_000,
        "é̂" * 3_000,
    ],
    ids=["long word", "blanks first", "zeros first", "one long word", "dots", "long words", "accents"],
)
async def test_reading_only_as_much_as_needed_gives_the_same_tokens(onnx_model, reference, text):
    (piece,) = await onnx_model.prepare([text])
    assert piece.content.tolist() == reference.tokenizer.encode(text).ids


async def test_a_run_does_not_block_the_loop(onnx_model):
    pieces = await onnx_model.prepare([PASSAGE * 20] * 4)
    run = asyncio.create_task(onnx_model.encode(pieces))
    rounds = 0
    while not run.done():
        await asyncio.sleep(0)
        rounds += 1
    assert rounds > 10


def test_concurrent_starts_leave_one_whole_graph(tmp_path: Path):
    with ThreadPoolExecutor(3) as threads:
        paths = set(
            threads.map(
                lambda _: ensure_graph(local_model.weights_path, tmp_path / "models", "m-r", Float32()), range(3)
            )
        )
    assert [*(tmp_path / "models").iterdir()] == [*paths]


def test_a_graph_that_cannot_be_put_in_place_leaves_nothing(tmp_path: Path):
    (tmp_path / "in-the-way").mkdir()
    with pytest.raises(OSError, match="in-the-way"):
        _write_whole(tmp_path / "in-the-way", b"graph")
    assert [path.name for path in tmp_path.iterdir()] == ["in-the-way"]


async def test_each_precision_has_a_graph_of_its_own(tmp_path: Path):
    for precision in ("fp32", "int8"):
        async with OnnxModel.open(tmp_path, threads=1, precision=precision):
            pass
    name = "all-MiniLM-L6-v2-53aa51172d142c89"
    written = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert {f"{name}-fp32-g2.onnx", f"{name}-int8.1-g2.onnx"} <= set(written)
    assert written[f"{name}-int8.1-g2.onnx"] < 0.4 * written[f"{name}-fp32-g2.onnx"]


def test_weights_are_asked_for_only_to_write_the_graph(tmp_path: Path):
    def missing() -> Path:
        raise AssertionError

    written = ensure_graph(local_model.weights_path, tmp_path, "m-r", Float32())
    assert ensure_graph(missing, tmp_path, "m-r", Float32()) == written
