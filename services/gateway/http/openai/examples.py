"""What the documentation of OpenAI's routes shows, made as the answers are."""

from __future__ import annotations

from typing import Any

import orjson

from services.gateway.http import examples, sse
from services.gateway.http.openai import shapes
from services.gateway.http.openai.conversation import CHAT_MODELS
from services.gateway.http.openai.shapes import Head
from services.gateway.http.openai.streaming import DONE

_HEAD = Head("ragmesh", 1_795_253_404, "https://rag.example.org/")
COMPLETION = _HEAD.completion(examples.ANSWER, [])
_CHUNKS = [
    _HEAD.chunk(examples.ANSWER_ID, {"role": "assistant", "content": "", "refusal": None}),
    _HEAD.chunk(examples.ANSWER_ID, {"content": examples.ANSWER["answer"]}),
    _HEAD.chunk(examples.ANSWER_ID, {"annotations": _HEAD.annotations(examples.ANSWER)}),
    _HEAD.chunk(examples.ANSWER_ID, {}, "stop", rag={"answer_id": examples.ANSWER_ID}),
]
CHUNKS = b"".join([*(sse.data(orjson.dumps(chunk)) for chunk in _CHUNKS), DONE]).decode()
MODELS: dict[str, Any] = {
    "object": "list",
    "data": [shapes.model(name, "ragmesh") for name in CHAT_MODELS],
}
EMBEDDINGS: dict[str, Any] = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.12, -0.5, 0.86]}],
    "model": "all-MiniLM-L6-v2",
    "usage": {"prompt_tokens": 7, "total_tokens": 7},
    "rag": {"revision": "1", "tokens": 7, "from_memory": 0, "from_redis": 0, "computed": 1, "truncated": 0},
}
