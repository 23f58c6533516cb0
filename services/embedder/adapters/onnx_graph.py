"""all-MiniLM-L6-v2 as an ONNX graph, written once from the published weights.

The graph is BERT with mean pooling and L2 normalisation inside:

    ids, mask: int64 (texts, tokens), mask 1 for a token and 0 for padding  ->  vectors: float32 (texts, 384)

Sources: Devlin et al., "BERT", 2018; the pooling and normalisation of sentence-transformers/all-MiniLM-L6-v2.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

GRAPH_VERSION = "g1"
"""Part of the file's name: another graph from the same weights is another file."""

LAYERS = 6
HEADS = 12
HIDDEN = 384
EPSILON = 1e-12
_OPSET = 17  # the first with LayerNormalization
_IR = 8

Weights = Mapping[str, NDArray[Any]]


def ensure_graph(weights: Path, folder: Path, name: str) -> Path:
    """Return the path of the graph in `folder`, writing it first when it is not there.

    Two processes that start at once both write, each to a file of its own, and the last rename wins: both are whole.

    Args:
        weights: The published safetensors file.
        folder: Where graphs are kept; made when missing.
        name: The model's name and revision, for the file's name.
    """
    path = folder / f"{name}-{GRAPH_VERSION}.onnx"
    if not path.exists():
        from safetensors.numpy import load_file

        folder.mkdir(parents=True, exist_ok=True)
        _write_whole(path, build_graph(load_file(weights)))
    return path


def build_graph(weights: Weights) -> bytes:
    """Return the serialised graph of the weights, named as the published file names them."""
    from onnx import TensorProto, helper

    graph = _Graph()
    mask = graph.add("Cast", "mask", to=TensorProto.FLOAT)
    bias = _attention_bias(graph, mask)
    hidden = _embeddings(graph, weights)
    for layer in range(LAYERS):
        hidden = _layer(graph, _part(weights, f"encoder.layer.{layer}."), hidden, bias)
    graph.add_as("vectors", "Identity", _pool(graph, hidden, mask))
    ids_shape = ["texts", "tokens"]
    inputs = [helper.make_tensor_value_info(i, TensorProto.INT64, ids_shape) for i in ("ids", "mask")]
    outputs = [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["texts", HIDDEN])]
    made = helper.make_graph(graph.nodes, "sentence_bert", inputs, outputs, graph.constants)
    opsets = [helper.make_opsetid("", _OPSET)]
    model: bytes = helper.make_model(made, opset_imports=opsets, ir_version=_IR).SerializeToString()
    return model


class _Graph:
    """Collects nodes and constants and names what they give."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, values: NDArray[Any] | Iterable[int]) -> str:
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        array = values if isinstance(values, np.ndarray) else np.array(list(values), dtype=np.int64)
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        return self.add_as(f"n{len(self.nodes)}", operator, *inputs, **attributes)

    def add_as(self, name: str, operator: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def linear(self, weights: Weights, name: str, hidden: str) -> str:
        kernel = self.constant(weights[f"{name}.weight"].T)
        return self.add("Add", self.add("MatMul", hidden, kernel), self.constant(weights[f"{name}.bias"]))

    def normalise(self, weights: Weights, name: str, hidden: str) -> str:
        scale, shift = self.constant(weights[f"{name}.weight"]), self.constant(weights[f"{name}.bias"])
        return self.add("LayerNormalization", hidden, scale, shift, axis=-1, epsilon=EPSILON)

    def scalar(self, value: float) -> str:
        return self.constant(np.array(value, dtype=np.float32))


def _part(weights: Weights, prefix: str) -> Weights:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def _attention_bias(graph: _Graph, mask: str) -> str:
    """Return 0 for a token and the lowest float for padding, shaped (texts, 1, 1, tokens)."""
    wide = graph.add("Unsqueeze", mask, graph.constant([1, 2]))
    padding = graph.add("Sub", graph.scalar(1.0), wide)
    return graph.add("Mul", padding, graph.scalar(float(np.finfo(np.float32).min)))


def _embeddings(graph: _Graph, weights: Weights) -> str:
    # Every text is one segment, so the type embedding is the same everywhere and is folded into the positions.
    positions = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    words = graph.add("Gather", graph.constant(weights["embeddings.word_embeddings.weight"]), "ids")
    length = graph.add("Slice", graph.add("Shape", "ids"), graph.constant([1]), graph.constant([2]))
    places = graph.add("Slice", graph.constant(positions), graph.constant([0]), length, graph.constant([0]))
    return graph.normalise(weights, "embeddings.LayerNorm", graph.add("Add", words, places))


def _layer(graph: _Graph, weights: Weights, hidden: str, bias: str) -> str:
    attended = graph.linear(weights, "attention.output.dense", _attention(graph, weights, hidden, bias))
    hidden = graph.normalise(weights, "attention.output.LayerNorm", graph.add("Add", attended, hidden))
    wide = _gelu(graph, graph.linear(weights, "intermediate.dense", hidden))
    narrow = graph.linear(weights, "output.dense", wide)
    return graph.normalise(weights, "output.LayerNorm", graph.add("Add", narrow, hidden))


def _attention(graph: _Graph, weights: Weights, hidden: str, bias: str) -> str:
    def heads(name: str, order: list[int]) -> str:
        flat = graph.linear(weights, f"attention.self.{name}", hidden)
        split = graph.add("Reshape", flat, graph.constant([0, 0, HEADS, HIDDEN // HEADS]))
        return graph.add("Transpose", split, perm=order)

    query, key, value = heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1]), heads("value", [0, 2, 1, 3])
    scores = graph.add("Div", graph.add("MatMul", query, key), graph.scalar(math.sqrt(HIDDEN / HEADS)))
    weighted = graph.add("Softmax", graph.add("Add", scores, bias), axis=-1)
    mixed = graph.add("Transpose", graph.add("MatMul", weighted, value), perm=[0, 2, 1, 3])
    return graph.add("Reshape", mixed, graph.constant([0, 0, HIDDEN]))


def _gelu(graph: _Graph, hidden: str) -> str:
    erf = graph.add("Erf", graph.add("Div", hidden, graph.scalar(math.sqrt(2.0))))
    return graph.add("Mul", graph.add("Mul", hidden, graph.add("Add", erf, graph.scalar(1.0))), graph.scalar(0.5))


def _pool(graph: _Graph, hidden: str, mask: str) -> str:
    """Return the mean over the tokens of each text, of length 1."""
    weight = graph.add("Unsqueeze", mask, graph.constant([2]))
    total = graph.add("ReduceSum", graph.add("Mul", hidden, weight), graph.constant([1]), keepdims=0)
    # The mean's divisor is the same for all numbers of a vector, so the normalisation removes it: the sum will do.
    return graph.add("LpNormalization", total, axis=-1, p=2)


def _write_whole(path: Path, content: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
