from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag import local_model
from services.embedder.adapters import onnx_model
from services.embedder.adapters.onnx_graph import ensure_graph
from services.embedder.adapters.onnx_int8 import Int8
from services.embedder.adapters.onnx_model import OnnxModel, is_exact
from tests.embedder.numpy_bert import NumpyBert
from tests.embedder.test_onnx_model import PASSAGE, embed

TEXTS = [
    "How do I renew my passport?",
    "The application for a new travel document takes three weeks.",
    "The engine overheats when the coolant is low.",
    "Check the radiator and fill up the water before you drive on.",
    "def area(radius):\n    return math.pi * radius ** 2",
    "The surface of a circle is computed from its radius.",
    "Wie lange ist die Garantie auf das Gerät?",
    "什么是检索增强生成？",
    "Dexamethasone reduced mortality among patients on mechanical ventilation.",
    "A steroid helped those who were severely ill and could not breathe alone.",
    "| a | b |\n|---|---|\n| 1 | 2.5e-3 |",
    "a",
    "[SEP] [MASK] x",
    "." * 300,
    PASSAGE,
    PASSAGE * 30,
]
TOKENS = 30_522


@pytest.fixture(scope="module")
def int8_session(models: Path) -> onnxruntime.InferenceSession:
    return session_of(models / "graphs", "signed")


def session_of(folder: Path, weights: str) -> onnxruntime.InferenceSession:
    graph = ensure_graph(local_model.weights_path, folder, weights, Int8(weights))
    return onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])


def run(session: onnxruntime.InferenceSession, *rows: list[int]) -> np.ndarray:
    longest = max(map(len, rows))
    ids = np.array([row + [0] * (longest - len(row)) for row in rows], dtype=np.int64)
    mask = np.array([[1] * len(row) + [0] * (longest - len(row)) for row in rows], dtype=np.int64)
    return session.run(["vectors"], {"ids": ids, "mask": mask})[0]


async def test_vectors_are_close_to_those_of_an_independent_computation(int8_model):
    reference = np.array([NumpyBert().embed(text) for text in TEXTS])
    vectors = await embed(int8_model, *TEXTS)
    assert (vectors * reference).sum(axis=1).min() > 0.985
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.abs(vectors @ vectors.T - reference @ reference.T).max() < 0.05


async def test_neighbours_are_those_of_float32(int8_model, onnx_model):
    first, second = [await embed(model, *TEXTS[:10]) for model in (int8_model, onnx_model)]
    nearest = [np.argmax(vectors @ vectors.T - 2 * np.eye(10), axis=1) for vectors in (first, second)]
    assert nearest[0].tolist() == nearest[1].tolist()


text = st.lists(st.integers(0, TOKENS - 1), min_size=1, max_size=60).map(lambda ids: [101, *ids, 102])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(one=text, others=st.lists(text, min_size=1, max_size=5), place=st.integers(0, 5))
def test_a_text_has_the_same_vector_whatever_else_is_in_the_run(int8_session, one, others, place):
    place = min(place, len(others))
    alone = run(int8_session, one)[0]
    in_company = run(int8_session, *others[:place], one, *others[place:])[place]
    assert float(alone @ in_company) > 1 - 1e-4


def test_unsigned_weights_give_the_same_vectors(int8_session, models):
    unsigned = session_of(models / "graphs", "unsigned")
    assert is_exact(unsigned)
    if is_exact(int8_session):
        rows = [[101, *range(2_000, 2_000 + n), 102] for n in (1, 7, 40)]
        assert np.array_equal(run(unsigned, *rows), run(int8_session, *rows))


async def test_a_processor_that_saturates_gets_unsigned_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_model, "is_exact", lambda _: False)
    async with OnnxModel.open(tmp_path, threads=1, precision="int8") as model:
        assert (await model.describe()).revision == "int8.1-53aa51172d142c89"
        assert len(await embed(model, "a")) == 1
    assert len(list(tmp_path.glob("*-int8.1-unsigned-*.onnx"))) == 1
