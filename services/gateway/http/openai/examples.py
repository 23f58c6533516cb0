"""What the documentation of OpenAI's routes shows, made as the answers are."""

from __future__ import annotations

from typing import Any

import orjson

from services.gateway.http import examples
from services.gateway.http.openai import shapes
from services.gateway.http.openai.shapes import Head

_HEAD = Head("ragmesh", 1_795_253_404, "https://rag.example.org/")
COMPLETION = _HEAD.completion(examples.ANSWER, [])
_CHUNKS = [
    _HEAD.chunk(examples.ANSWER_ID, {"role": "assistant", "content": "", "refusal": None}),
    _HEAD.chunk(examples.ANSWER_ID, {"content": examples.ANSWER["answer"]}),
    _HEAD.chunk(examples.ANSWER_ID, {"annotations": _HEAD.annotations(examples.ANSWER)}),
    _HEAD.chunk(examples.ANSWER_ID, {}, "stop", rag={"answer_id": examples.ANSWER_ID}),
]
CHUNKS = "".join(f"data: {orjson.dumps(chunk).decode()}\n\n" for chunk in _CHUNKS) + "data: [DONE]\n\n"
MODELS: dict[str, Any] = {
    "object": "list",
    "data": [shapes.model(name, "ragmesh") for name in ("ragmesh", "ragmesh-dense", "ragmesh-keyword")],
}
EMBEDDINGS: dict[str, Any] = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.12, -0.5, 0.86]}],
    "model": "all-MiniLM-L6-v2",
    "usage": {"prompt_tokens": 7, "total_tokens": 7},
    "rag": {"revision": "1", "tokens": 7, "from_memory": 0, "from_redis": 0, "computed": 1, "truncated": 0},
}
