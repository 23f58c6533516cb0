"""The whole model in numpy, one text at a time, straight from the published weights: nothing shared with the graph."""

from __future__ import annotations

import math

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from rag import local_model

_erf = np.vectorize(math.erf)


class NumpyBert:
    def __init__(self) -> None:
        self.weights = {name: w.astype(np.float64) for name, w in load_file(local_model.weights_path()).items()}
        self.tokenizer = Tokenizer.from_file(str(local_model.tokenizer_path()))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(256)

    def embed(self, text: str) -> np.ndarray:
        w = self.weights
        ids = self.tokenizer.encode(text).ids
        hidden = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.token_type_embeddings.weight"][0]
        hidden = self.normalise("embeddings", hidden + w["embeddings.position_embeddings.weight"][: len(ids)])
        for n in range(6):
            hidden = self.layer(f"encoder.layer.{n}", hidden)
        mean = hidden.mean(axis=0)
        return mean / np.linalg.norm(mean)

    def layer(self, name: str, hidden: np.ndarray) -> np.ndarray:
        q, k, v = (self.linear(f"{name}.attention.self.{part}", hidden) for part in ("query", "key", "value"))
        mixed = np.zeros_like(hidden)
        for head in range(12):
            part = slice(32 * head, 32 * head + 32)
            scores = np.exp(q[:, part] @ k[:, part].T / math.sqrt(32))
            mixed[:, part] = scores / scores.sum(axis=1, keepdims=True) @ v[:, part]
        hidden = self.normalise(
            f"{name}.attention.output", hidden + self.linear(f"{name}.attention.output.dense", mixed)
        )
        wide = self.linear(f"{name}.intermediate.dense", hidden)
        wide = wide * (1 + _erf(wide / math.sqrt(2))) / 2
        return self.normalise(f"{name}.output", hidden + self.linear(f"{name}.output.dense", wide))

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def normalise(self, name: str, x: np.ndarray) -> np.ndarray:
        centred = x - x.mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-12)
        return scaled * self.weights[f"{name}.LayerNorm.weight"] + self.weights[f"{name}.LayerNorm.bias"]
