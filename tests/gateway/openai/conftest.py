"""The official client, both kinds, in front of a gateway with steerable services."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import openai
import pytest

Ask = Callable[..., Awaitable[Any]]


@pytest.fixture
async def client(gateway) -> AsyncIterator[openai.AsyncOpenAI]:
    async with client_of(gateway) as made:
        yield made


def client_of(gateway) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=_url(gateway), api_key="none", max_retries=0, timeout=20)


@pytest.fixture
def sync_client(gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=_url(gateway), api_key="none", max_retries=0, timeout=20) as made:
        yield made


@pytest.fixture(params=["async", "sync"])
def ask(request, client, sync_client) -> Ask:
    """`chat.completions.create` of either client; of a stream, all its chunks."""

    async def of_async(**asked: Any) -> Any:
        answer = await client.chat.completions.create(**with_defaults(asked))
        return [chunk async for chunk in answer] if asked.get("stream") else answer

    def of_sync(**asked: Any) -> Any:
        answer = sync_client.chat.completions.create(**with_defaults(asked))
        return list(answer) if asked.get("stream") else answer

    async def in_a_thread(**asked: Any) -> Any:
        return await asyncio.to_thread(of_sync, **asked)

    return of_async if request.param == "async" else in_a_thread


def with_defaults(asked: dict[str, Any]) -> dict[str, Any]:
    return {"model": "ragmesh", "messages": [{"role": "user", "content": "why?"}], **asked}


def _url(gateway) -> str:
    return f"http://127.0.0.1:{gateway.http_port}/v1"
