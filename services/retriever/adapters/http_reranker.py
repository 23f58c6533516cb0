"""A reranker over HTTP: the `/rerank` convention, as text-embeddings-inference speaks it and as Cohere and Jina do."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, Self

import httpx

from rag.runtime.errors import Unavailable
from rag.runtime.tasks import together

Api = Literal["tei", "cohere", "jina"]

_AT_ONCE: Mapping[Api, int] = {"tei": 32, "cohere": 1_000, "jina": 1_000}
"""How many texts one request carries: what TEI takes unless it is told otherwise."""
_MOST_BYTES = 1024 * 1024


class HttpReranker:
    """Asks a server for scores. Redirects are not followed, and no proxy or credentials of this machine are used.

    Args:
        client: For this server, with the headers that it asks for.
        url: Where to post, such as http://127.0.0.1:8080/rerank.
        api: What it speaks.
        model: For those that serve several.
    """

    def __init__(self, client: httpx.AsyncClient, url: str, api: Api, model: str = "") -> None:
        self._client = client
        self._url = url
        self._api: Api = api
        self._model = model

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, api: Api, model: str, key: str, timeout_s: float) -> AsyncIterator[Self]:
        """Connect for the length of a block; `key` is sent as a bearer token."""
        headers = {"accept-encoding": "identity", **({"authorization": f"Bearer {key}"} if key else {})}
        async with httpx.AsyncClient(headers=headers, timeout=timeout_s, trust_env=False) as client:
            yield cls(client, url, api, model)

    @property
    def name(self) -> str:
        """What the scores depend on, as one word."""
        return hashlib.sha256(json.dumps([self._api, self._url, self._model]).encode()).hexdigest()[:16]

    async def scores(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        """Return a finite score for each text, in their order, higher is better.

        Raises:
            Unavailable: RERANKER_UNAVAILABLE when it is away or refuses, BAD_RERANKING when its answer makes no sense.
        """
        size = _AT_ONCE[self._api]
        batches = [texts[start : start + size] for start in range(0, len(texts), size)]
        answers = await together(*(self._ask(query, batch) for batch in batches))
        return [score for answer in answers for score in answer]

    async def _ask(self, query: str, texts: Sequence[str]) -> list[float]:
        try:
            async with self._client.stream("POST", self._url, json=self._question(query, texts)) as response:
                if response.status_code != httpx.codes.OK:
                    raise Unavailable("The reranker refused.", "RERANKER_UNAVAILABLE", status=str(response.status_code))
                body = await _read(response)
        except (httpx.HTTPError, OSError) as error:
            raise Unavailable("The reranker is not reachable.", "RERANKER_UNAVAILABLE") from error
        return self._answer(body, len(texts))

    def _question(self, query: str, texts: Sequence[str]) -> dict[str, Any]:
        if self._api == "tei":
            return {"query": query, "texts": list(texts), "raw_scores": False, "truncate": True}
        model = {"model": self._model} if self._model else {}
        return {**model, "query": query, "documents": list(texts), "top_n": len(texts)}

    def _answer(self, body: bytes, count: int) -> list[float]:
        """Return the scores in the order of the texts; each text must have exactly one."""
        try:
            answer = json.loads(body)
            entries = answer if self._api == "tei" else answer["results"]
            field = "score" if self._api == "tei" else "relevance_score"
            scores = {_index(entry["index"]): float(entry[field]) for entry in entries}
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise _nonsense() from error
        if len(entries) != count or set(scores) != set(range(count)) or not all(map(math.isfinite, scores.values())):
            raise _nonsense()
        return [scores[at] for at in range(count)]


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise _nonsense()
    return bytes(body)


def _index(value: Any) -> int:
    if type(value) is not int:
        raise TypeError
    return value


def _nonsense() -> Unavailable:
    return Unavailable("The reranker's answer makes no sense.", "BAD_RERANKING")
