"""all-MiniLM-L6-v2 as an ONNX graph, written once from the published weights.

The graph is BERT with mean pooling and L2 normalisation inside:

    ids, mask: int64 (texts, tokens), mask 1 for a token and 0 for padding  ->  vectors: float32 (texts, 384)

How its linear layers compute is an `Arithmetic`: in float32 here, in 8-bit integers in `onnx_int8`.

Sources: Devlin et al., "BERT", 2018; the pooling and normalisation of sentence-transformers/all-MiniLM-L6-v2.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

GRAPH_VERSION = "g2"
"""Part of the file's name: another graph from the same weights is another file."""

LAYERS = 6
HEADS = 12
HIDDEN = 384
EPSILON = 1e-12
MICROSOFT = "com.microsoft"
"""The domain of onnxruntime's own operators."""
_OPSET = 23  # the first with Attention
_IR = 11

Weights = Mapping[str, NDArray[Any]]
Dense = tuple[NDArray[np.float32], NDArray[np.float32]]
"""A linear layer: kernel (inputs, outputs) and bias (outputs)."""
Site = Literal["attention", "mixed", "wide", "narrow"]
"""Which input: of query, key and value; of what attention gives back; of the feed-forward's first and second half."""
Place = tuple[int, Site]
"""A layer, from 0 on, and an input in it."""


class Arithmetic(Protocol):
    """How linear layers compute."""

    def words(self, graph: Graph, table: NDArray[np.float32]) -> str:
        """Return the rows of the table at "ids", float32."""

    def feed_forward(self, layer: int, wide: Dense, narrow: Dense) -> tuple[Dense, Dense]:
        """Return both halves of the feed-forward as this arithmetic wants them; they compute the same."""

    def project(self, graph: Graph, hidden: str, place: Place, layers: Sequence[Dense]) -> Sequence[str]:
        """Return what each of the linear layers makes of the hidden states."""

    def outputs(self, graph: Graph) -> Sequence[Any]:
        """Return the outputs that the graph has besides the vectors."""


class Float32:
    """The published numbers as they are."""

    def words(self, graph: Graph, table: NDArray[np.float32]) -> str:
        """Return the rows of the table at "ids", float32."""
        return graph.add("Gather", graph.constant(table), "ids")

    def feed_forward(self, layer: int, wide: Dense, narrow: Dense) -> tuple[Dense, Dense]:
        """Return both halves unchanged."""
        del layer
        return wide, narrow

    def project(self, graph: Graph, hidden: str, place: Place, layers: Sequence[Dense]) -> Sequence[str]:
        """Multiply and add."""
        del place
        return [
            graph.add("Add", graph.add("MatMul", hidden, graph.constant(kernel)), graph.constant(bias))
            for kernel, bias in layers
        ]

    def outputs(self, graph: Graph) -> Sequence[Any]:
        """Return none."""
        del graph
        return ()


def ensure_graph(weights: Callable[[], Path], folder: Path, name: str, arithmetic: Arithmetic) -> Path:
    """Return the path of the graph in `folder`, writing it first when it is not there.

    Two processes that start at once both write, each to a file of its own, and the last rename wins: both are whole.

    Args:
        weights: Finds and checks the published safetensors file, which takes longer than all else at a start; called when
            the graph has to be written.
        folder: Where graphs are kept; made when missing.
        name: The model's name and revision and all else that the graph depends on, for the file's name.
        arithmetic: How linear layers compute.
    """
    path = folder / f"{name}-{GRAPH_VERSION}.onnx"
    if not path.exists():
        from safetensors.numpy import load_file

        folder.mkdir(parents=True, exist_ok=True)
        _write_whole(path, build_graph(load_file(weights()), arithmetic))
    return path


def build_graph(weights: Weights, arithmetic: Arithmetic) -> bytes:
    """Return the serialised graph of the weights, named as the published file names them."""
    from onnx import TensorProto, helper

    graph = Graph()
    mask = graph.add("Cast", "mask", to=TensorProto.FLOAT)
    bias = _attention_bias(graph, mask)
    hidden = _embeddings(graph, weights, arithmetic)
    for layer in range(LAYERS):
        hidden = _layer(graph, _part(weights, f"encoder.layer.{layer}."), (hidden, bias), layer, arithmetic)
    graph.add_as("vectors", "Identity", _pool(graph, hidden, mask))
    ids_shape = ["texts", "tokens"]
    inputs = [helper.make_tensor_value_info(i, TensorProto.INT64, ids_shape) for i in ("ids", "mask")]
    vectors = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["texts", HIDDEN])
    outputs = [vectors, *arithmetic.outputs(graph)]
    made = helper.make_graph(graph.nodes, "sentence_bert", inputs, outputs, graph.constants)
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(MICROSOFT, 1)]
    model: bytes = helper.make_model(made, opset_imports=opsets, ir_version=_IR).SerializeToString()
    return model


class Graph:
    """Collects nodes and constants and names what they give."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, values: NDArray[Any] | Iterable[int]) -> str:
        """Add an array, or int64 numbers."""
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        array = values if isinstance(values, np.ndarray) else np.array(list(values), dtype=np.int64)
        # Asked of arrays with axes only: it gives a scalar one.
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array) if array.ndim else array, name))
        return name

    def scalar(self, value: float) -> str:
        """Add one float32."""
        return self.constant(np.array(value, dtype=np.float32))

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        return self.add_as(f"n{len(self.nodes)}", operator, *inputs, **attributes)

    def add_as(self, name: str, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node whose output has this name."""
        from onnx import helper

        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def normalise(self, weights: Weights, name: str, hidden: str) -> str:
        """Add a layer normalisation."""
        scale, shift = self.constant(weights[f"{name}.weight"]), self.constant(weights[f"{name}.bias"])
        return self.add("LayerNormalization", hidden, scale, shift, axis=-1, epsilon=EPSILON)


def _part(weights: Weights, prefix: str) -> Weights:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def _dense(weights: Weights, name: str) -> Dense:
    return weights[f"{name}.weight"].T, weights[f"{name}.bias"]


def _attention_bias(graph: Graph, mask: str) -> str:
    """Return 0 for a token and the lowest float for padding, shaped (texts, 1, tokens, tokens)."""
    padding = graph.add("Sub", graph.scalar(1.0), graph.add("Unsqueeze", mask, graph.constant([1, 2])))
    bias = graph.add("Mul", padding, graph.scalar(float(np.finfo(np.float32).min)))
    shape = graph.add("Concat", graph.constant([1, 1]), _length(graph), graph.constant([1]), axis=0)
    return graph.add("Expand", bias, shape)


def _length(graph: Graph) -> str:
    return graph.add("Slice", graph.add("Shape", "ids"), graph.constant([1]), graph.constant([2]))


def _embeddings(graph: Graph, weights: Weights, arithmetic: Arithmetic) -> str:
    # Every text is one segment, so the type embedding is the same everywhere and is folded into the positions.
    positions = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    words = arithmetic.words(graph, weights["embeddings.word_embeddings.weight"])
    places = graph.add("Slice", graph.constant(positions), graph.constant([0]), _length(graph), graph.constant([0]))
    return graph.normalise(weights, "embeddings.LayerNorm", graph.add("Add", words, places))


def _layer(graph: Graph, weights: Weights, states: tuple[str, str], layer: int, arithmetic: Arithmetic) -> str:
    hidden, bias = states

    def project(states: str, site: Site, *layers: Dense) -> Sequence[str]:
        return arithmetic.project(graph, states, (layer, site), layers)

    parts = [_dense(weights, f"attention.self.{name}") for name in ("query", "key", "value")]
    mixed = graph.add("Attention", *project(hidden, "attention", *parts), bias, q_num_heads=HEADS, kv_num_heads=HEADS)
    (attended,) = project(mixed, "mixed", _dense(weights, "attention.output.dense"))
    hidden = graph.normalise(weights, "attention.output.LayerNorm", graph.add("Add", attended, hidden))
    first, second = arithmetic.feed_forward(
        layer, _dense(weights, "intermediate.dense"), _dense(weights, "output.dense")
    )
    (wide,) = project(hidden, "wide", first)
    (narrow,) = project(graph.add("Gelu", wide), "narrow", second)
    return graph.normalise(weights, "output.LayerNorm", graph.add("Add", narrow, hidden))


def _pool(graph: Graph, hidden: str, mask: str) -> str:
    """Return the mean over the tokens of each text, of length 1."""
    total = graph.add("MatMul", graph.add("Unsqueeze", mask, graph.constant([1])), hidden)
    # The mean's divisor is the same for all numbers of a vector, so the normalisation removes it: the sum will do.
    return graph.add("LpNormalization", graph.add("Squeeze", total, graph.constant([1])), axis=-1, p=2)


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
