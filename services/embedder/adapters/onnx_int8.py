"""Linear layers in 8-bit integers, with ranges that are known beforehand.

Every input is cut into 255 steps of a range that is a constant of its place, never of what is in the batch: a text has
the same vector alone and in company. The weights have one step for each output. Three things keep the steps small:

- A few channels of the hidden states are up to five times larger than all others. Their inputs are divided and their
  weights multiplied by the same number (Xiao et al., "SmoothQuant", 2022).
- Five neurons answer to the first token of every text, several times louder than all others ever do. Each is continued
  by copies with a lower bias: what the range cuts off one, the next holds (Zhao et al., "Outlier Channel
  Splitting", 2019). GELU is the identity where they take over.
- GELU is never below -0.17, so nearly all steps of its range are above zero.

The constants were measured over 142,000 tokens of English, Japanese and Chinese prose, source code and markup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from services.embedder.adapters.onnx_graph import MICROSOFT, Dense, Graph, Place, Site

INT8_VERSION = "int8.1"
"""Part of the revision: with other constants the same text has another vector."""
EXACT = "exact"
"""The output that tells whether this processor multiplies without saturating."""
EXACT_VALUE = 64 * 255 * 127

_RANGES: Mapping[Site, tuple[float, float]] = {
    "attention": (-6.0, 6.0),
    "mixed": (-4.0, 4.0),
    "wide": (-6.0, 6.0),
    "narrow": (-0.17, 6.0),
}
_PEAKS: Mapping[Site, Sequence[Mapping[int, float]]] = {
    "attention": (
        {},
        {99: 8.2, 157: 6.9},
        {99: 8.0},
        {99: 9.7, 157: 6.8},
        {99: 10.6, 157: 7.9, 338: 6.7},
        {99: 10.0, 157: 6.8, 383: 6.7},
    ),
    "wide": (
        {63: 11.4, 99: 28.6, 267: 7.5, 303: 6.6},
        {63: 8.8, 99: 30.4, 157: 7.7, 223: 8.5, 267: 7.7},
        {63: 8.3, 99: 27.8, 157: 7.5, 223: 14.5, 338: 6.6},
        {63: 10.0, 99: 28.9, 157: 7.2, 223: 16.1},
        {63: 8.9, 99: 21.7, 127: 14.2, 157: 6.7, 223: 15.2},
        {99: 13.6, 127: 7.9, 223: 13.2, 319: 9.7},
    ),
}
"""The largest magnitude seen in channels that go beyond the range, by layer."""
_LOUD: Sequence[Mapping[int, int]] = ({856: 4}, {607: 3}, {218: 2, 1004: 2}, {358: 2}, {}, {})
"""How many copies continue a neuron of the feed-forward, by layer."""
_LANE = 16
"""Outputs are computed in groups of so many: a layer is filled up to whole groups."""


class Int8:
    """The arithmetic.

    Args:
        weights: Their form. "signed" is fast where a processor multiplies bytes into 32 bits (VNNI, ARM). Others add
            pairs in 16 bits and saturate; they need "unsigned", which gives the same numbers at half the speed.
    """

    def __init__(self, weights: Literal["signed", "unsigned"]) -> None:
        self._zero = np.int8(0) if weights == "signed" else np.uint8(128)

    def words(self, graph: Graph, table: NDArray[np.float32]) -> str:
        """Return the rows of the table, kept in float16, at "ids"."""
        from onnx import TensorProto

        rows = graph.add("Gather", graph.constant(table.astype(np.float16)), "ids")
        return graph.add("Cast", rows, to=TensorProto.FLOAT)

    def feed_forward(self, layer: int, wide: Dense, narrow: Dense) -> tuple[Dense, Dense]:
        """Return both halves with copies of the loud neurons."""
        copies = [(neuron, copy) for neuron, times in _LOUD[layer].items() for copy in range(1, times + 1)]
        if not copies:
            return wide, narrow
        (kernel, bias), (back, end) = wide, narrow
        neurons = [neuron for neuron, _ in copies]
        cut_off = np.array([copy * _RANGES["narrow"][1] for _, copy in copies], np.float32)
        filling = -(len(bias) + len(copies)) % _LANE
        kernel = np.pad(np.hstack([kernel, kernel[:, neurons]]), ((0, 0), (0, filling)))
        bias = np.pad(np.concatenate([bias, bias[neurons] - cut_off]), (0, filling))
        back = np.pad(np.vstack([back, back[neurons]]), ((0, filling), (0, 0)))
        return (kernel, bias), (back, end)

    def project(self, graph: Graph, hidden: str, place: Place, layers: Sequence[Dense]) -> Sequence[str]:
        """Cut the hidden states into steps once, and multiply with each layer."""
        layer, site = place
        low, high = _RANGES[site]
        peaks = _PEAKS[site][layer] if site in _PEAKS else {}
        smaller = np.ones(len(layers[0][0]), np.float32)
        if peaks:
            smaller[list(peaks)] = np.array(list(peaks.values()), np.float32) / np.float32(high)
            hidden = graph.add("Mul", hidden, graph.constant(1 / smaller))
        step = np.float32((high - low) / 255)
        scale, zero = graph.scalar(float(step)), graph.constant(np.array(round(-low / float(step)), np.uint8))
        steps = graph.add("QuantizeLinear", hidden, scale, zero)
        return [self._multiply(graph, (steps, scale, zero), kernel * smaller[:, None], bias) for kernel, bias in layers]

    def outputs(self, graph: Graph) -> Sequence[Any]:
        """Add the largest products there are: their sum shows whether it saturated."""
        from onnx import TensorProto, helper

        many = graph.constant(np.full((1, 64), 255, np.uint8))
        largest = graph.constant(self._shifted(np.full((64, 64), 127, np.int8)))
        nothing = graph.constant(np.array(0, np.uint8))
        zeros = graph.constant(np.full(64, self._zero))
        graph.add_as(EXACT, "MatMulInteger", many, largest, nothing, zeros)
        return [helper.make_tensor_value_info(EXACT, TensorProto.INT32, [1, 64])]

    def _multiply(self, graph: Graph, states: tuple[str, str, str], kernel: NDArray[Any], bias: NDArray[Any]) -> str:
        steps, scale, zero = states
        # An output that nothing feeds is filling.
        step = np.maximum(np.abs(kernel).max(axis=0), np.float32(1e-8)) / 127
        weights = self._shifted(np.rint(kernel / step).astype(np.int8))
        zeros = np.full(len(step), self._zero)
        constants = [graph.constant(weights), scale, graph.constant(step), zero, graph.constant(zeros)]
        return graph.add("MatMulIntegerToFloat", steps, *constants, graph.constant(bias), domain=MICROSOFT)

    def _shifted(self, weights: NDArray[np.int8]) -> NDArray[Any]:
        return (weights.astype(np.int16) + self._zero).astype(self._zero.dtype)
