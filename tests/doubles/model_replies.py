"""What the OpenAI-compatible double answers: its script, and the bodies made from it."""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import json
import re
from typing import Any

import numpy as np

MODEL = "double-1"
DIMENSION = 384


@dataclasses.dataclass(slots=True)
class Behaviour:
    """What happens to the next requests. The default is a good answer."""

    times: int | None = 1  # how many requests; None for all until the reset
    path: str = ""  # only requests whose path ends with this, such as "embeddings"
    text: str = ""  # the answer, sent word by word
    deltas: list[str] = dataclasses.field(default_factory=list)  # the answer in these pieces
    flood: int = (
        0  # the answer is so many words, each in a write of its own, as fast as they are taken, or after delay_ms
    )
    first_delay_ms: float = 0
    delay_ms: float = 0
    status: int = 200
    retry_after: str = ""
    error_code: str = ""
    echo: bool = False  # an error repeats the key and the request, as some servers do
    malformed: bool = False  # broken JSON; in a stream, after `after` deltas
    hang: bool = False  # never answers
    hang_after: int | None = None  # stalls after so many deltas
    reset_after: int | None = None  # TCP reset after so many deltas
    end_after: int | None = None  # ends cleanly after so many deltas, with no finish reason
    error_after: int | None = None  # an error event after so many deltas
    after: int = 0
    finish_reason: str | None = "stop"
    usage: bool = True
    cached_tokens: int | None = None  # reported as part of the usage
    reset_at_end: bool = False  # TCP reset after the finish reason, before the usage
    hang_at_end: bool = False  # stalls there
    dimension: int = 0  # another length of vector than asked for
    nan: bool = False
    count: int | None = None  # another number of vectors than asked for
    most_texts: int | None = None  # embeddings: 413 for more texts in a request; other requests are answered
    most_tokens: int | None = None  # embeddings: 413 for more words in a request; other requests are answered
    for_s: float | None = None  # for so many seconds from now, whatever `times` says


def pieces(body: Any, script: Behaviour) -> list[str]:
    return script.deltas or re.findall(r"\s*\S+|\s+$", script.text or _quote(body))


def _quote(body: Any) -> str:
    """The first numbered passage's first line, with its marker: what an honest model would say."""
    content = body["messages"][-1]["content"]
    if not (found := re.search(r"\[1\][^\n]*\n\s*(.+)", content)):
        return "There is no numbered passage in the prompt."
    return f"{found[1][:300].rstrip()} [1]"


@functools.cache
def flood(words: int) -> tuple[list[bytes], bytes]:
    """The writes of a flood, one word each, and of its end: made once, so that the double is faster than what it measures."""
    writes = [chunked(chunk({"content": _word(number)}, None)) for number in range(words)]
    tokens = {"prompt_tokens": 100, "completion_tokens": words, "total_tokens": 100 + words}
    last = [
        chunk({}, "stop"),
        json.dumps({**envelope("chat.completion.chunk"), "choices": [], "usage": tokens}),
        "[DONE]",
    ]
    return writes, b"".join(map(chunked, last))


def _word(number: int) -> str:
    return " [1]" if number % 40 == 39 else f" tok{number:06d}{'.' if number % 40 == 38 else ''}"


def chunked(data: str) -> bytes:
    body = f"data: {data}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(body), body)


def chunk(delta: dict[str, str], finish_reason: str | None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return json.dumps({**envelope("chat.completion.chunk"), "choices": [choice]})


def envelope(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-double", "object": kind, "created": 1, "model": MODEL}


def usage(body: Any, text: str, cached_tokens: int | None = None) -> dict[str, Any]:
    prompt, answer = len(json.dumps(body["messages"]).split()), len(text.split())
    tokens = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
    return tokens if cached_tokens is None else {**tokens, "prompt_tokens_details": {"cached_tokens": cached_tokens}}


def completion(body: Any, script: Behaviour) -> dict[str, Any]:
    text = "".join(pieces(body, script))
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": script.finish_reason}
    answer = {**envelope("chat.completion"), "choices": [choice]}
    return {**answer, "usage": usage(body, text)} if script.usage else answer


def texts_of(body: Any) -> list[str]:
    return [body["input"]] if isinstance(body["input"], str) else body["input"]


def is_too_large(body: Any, script: Behaviour) -> bool:
    texts = texts_of(body)
    too_many = script.most_texts is not None and len(texts) > script.most_texts
    return too_many or (script.most_tokens is not None and sum(len(t.split()) for t in texts) > script.most_tokens)


def embeddings(body: Any, script: Behaviour) -> dict[str, Any]:
    texts = texts_of(body)
    texts = (texts * 2)[: script.count] if script.count is not None else texts
    dimension = script.dimension or body.get("dimensions") or DIMENSION
    data = [
        {"object": "embedding", "index": i, "embedding": _encoded(_vector(text, dimension, script.nan), body)}
        for i, text in enumerate(texts)
    ]
    tokens = sum(len(text.split()) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": body["model"], "usage": usage}


def _vector(text: str, dimension: int, nan: bool) -> np.ndarray[Any, np.dtype[np.float32]]:
    digest = hashlib.shake_256(text.encode()).digest(4 * dimension)
    values = np.frombuffer(digest, "<u4") / 2.0**32 - 0.5
    values /= np.linalg.norm(values)
    if nan:
        values[0] = np.nan
    return values.astype("<f4")


def _encoded(vector: np.ndarray[Any, np.dtype[np.float32]], body: Any) -> str | list[float]:
    if body.get("encoding_format") == "base64":
        return base64.b64encode(vector.tobytes()).decode()
    return vector.tolist()
