"""Answers by a language model behind any OpenAI-compatible chat completions endpoint."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import httpx2
from openai import APIError, AsyncOpenAI, AsyncStream, DefaultAsyncHttpxClient
from openai.types.chat import ChatCompletionChunk

from rag.runtime.context import remaining_s
from services.generator.adapters.openai_answer import OpenAIAnswer
from services.generator.adapters.openai_errors import retry_after_s, translated
from services.generator.chat import Finish
from services.generator.prompt import Prompt

OPENAI_URL = "https://api.openai.com/v1"
_LONGEST_RETRY_WAIT_S = 2.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the model may take, in seconds."""

    connect_s: float = 3.0
    first_token_s: float = 20.0
    next_token_s: float = 15.0


class OpenAIChat:
    """A ChatModel over chat completions, streamed.

    Args:
        client: From `client_of`; its retries happen before the first token only.
        model: As the server calls it.
        patience: How long it may take.
    """

    provider = "openai"

    def __init__(self, client: AsyncOpenAI, model: str, patience: Patience) -> None:
        self._client = client
        self._model = model
        self._patience = patience

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Finish]:
        """Yield the model's text as it comes; leaving closes the HTTP stream, which stops the model."""
        answer = OpenAIAnswer(self._model, prompt)
        now = asyncio.get_running_loop().time
        call_ends = now() + remaining_s(math.inf)
        until = min(now() + self._patience.first_token_s, call_ends)
        try:
            async with asyncio.timeout_at(until):
                response = await self._ask(prompt)
            async with response:
                while True:
                    async with asyncio.timeout_at(until):
                        chunk = await anext(response, None)
                    if chunk is None:
                        break
                    if text := answer.take(chunk):
                        yield text
                        until = min(now() + self._patience.next_token_s, call_ends)
        except (APIError, TimeoutError, httpx2.HTTPError, ValueError) as error:
            raise translated(error, began=answer.began) from error
        yield answer.finish()

    async def _ask(self, prompt: Prompt) -> AsyncStream[ChatCompletionChunk]:
        # OpenAI's newer models know only the new name, most other servers only the old one.
        is_openai = str(self._client.base_url).startswith(OPENAI_URL)
        length = {"max_completion_tokens" if is_openai else "max_tokens": prompt.max_tokens}
        return await self._client.chat.completions.create(
            model=self._model,
            messages=[{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}],
            temperature=prompt.temperature,
            stream=True,
            stream_options={"include_usage": True},
            extra_body=length,
        )


def client_of(api_key: str, base_url: str, patience: Patience, max_retries: int) -> AsyncOpenAI:
    """Return a client; close it when done. An empty `base_url` is OpenAI's own."""
    # The adapter's own timers speak first; these are for what happens outside of them, such as closing.
    longest = patience.first_token_s + patience.next_token_s
    timeout = httpx2.Timeout(longest, connect=patience.connect_s)
    return AsyncOpenAI(
        api_key=api_key or "none",
        base_url=base_url or OPENAI_URL,
        max_retries=max_retries,
        timeout=timeout,
        http_client=DefaultAsyncHttpxClient(timeout=timeout, event_hooks={"response": [_refuse_long_waits]}),
    )


async def _refuse_long_waits(response: httpx2.Response) -> None:
    """Keep the client from sleeping as long as a server asks: the next model answers sooner."""
    header = response.headers.get("retry-after")
    if header and retry_after_s(header) > _LONGEST_RETRY_WAIT_S:
        response.headers["x-should-retry"] = "false"
