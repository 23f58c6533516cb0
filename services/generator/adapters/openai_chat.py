"""Answers by a language model behind any OpenAI-compatible chat completions endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from importlib.util import find_spec
from typing import Any

import httpx2
from openai import APIError, AsyncOpenAI, DefaultAioHttpClient, DefaultAsyncHttpxClient

from rag.runtime.logs import get_logger
from rag.runtime.wordless import wordless
from services.generator.adapters.openai_answer import OpenAIAnswer
from services.generator.adapters.openai_errors import ModelServerError, retry_after_s, translated
from services.generator.adapters.openai_lines import OpenAILines
from services.generator.prompting.prompt import Prompt
from services.generator.writing.chat import Finish

OPENAI_URL = "https://api.openai.com/v1"
_LONGEST_RETRY_WAIT_S = 2.0
_LONGEST_REST_S = 1.0
_LONGEST_SILENCE_S = 600.0
_FAILURES = (APIError, ModelServerError, httpx2.HTTPError, OSError, ValueError)

log = get_logger(__name__)


class OpenAIChat:
    """A ChatModel over chat completions, streamed.

    The path of a token is short on purpose: what one read of the network brings becomes one piece of text, with no object per token.

    Args:
        client: From `client_of`; its retries happen before the first token only.
        model: As the server calls it.
        name: Who runs it, as users are told.
    """

    def __init__(self, client: AsyncOpenAI, model: str, name: str) -> None:
        self._client = client
        self.model = model
        self.provider = name

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Finish]:
        """Yield the model's text as it comes; leaving closes the HTTP stream, which stops the model."""
        answer = OpenAIAnswer(self.provider, self.model, prompt)
        try:
            async with self._client.chat.completions.with_streaming_response.create(
                **self._request(prompt)
            ) as response:
                lines = OpenAILines()
                async with aclosing(response.http_response.aiter_bytes()) as pieces:
                    async for piece in pieces:
                        if text := answer.take(lines.feed(piece)):
                            yield text
                        if answer.is_whole:
                            await self._take_rest(pieces, lines, answer)
                        if answer.is_whole or answer.is_too_long:
                            break
        except _FAILURES as error:
            raise translated(error, began=answer.began) from wordless(error)
        yield answer.finish()

    async def _take_rest(self, pieces: AsyncIterator[bytes], lines: OpenAILines, answer: OpenAIAnswer) -> None:
        """Read what follows a whole answer: its usage, and the end of the response, after which the connection serves again."""
        try:
            async with asyncio.timeout(_LONGEST_REST_S):
                async for piece in pieces:
                    answer.take(lines.feed(piece))
        except _FAILURES as error:
            # It costs the connection and at most the usage, which is estimated then.
            log.info("model_rest_lost", provider=self.provider, cause=type(error).__name__)

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        # OpenAI's newer models know only the new name, most other servers only the old one.
        is_openai = str(self._client.base_url).startswith(OPENAI_URL)
        length = {"max_completion_tokens" if is_openai else "max_tokens": prompt.max_tokens}
        messages = [{"role": role, "content": text} for role, text in prompt.messages()]
        # The client looks through every argument for a millisecond or two, but not through the extra body, which wins.
        return {
            "model": self.model,
            "messages": [],
            "stream": True,
            "extra_body": {
                "messages": messages,
                "temperature": prompt.temperature,
                "stream_options": {"include_usage": True},
                **length,
            },
        }


def client_of(api_key: str, base_url: str, connect_s: float, max_retries: int) -> AsyncOpenAI:
    """Return a client; close it when done. An empty `base_url` is OpenAI's own.

    Args:
        api_key: Empty for servers that ask for none.
        base_url: Of the endpoint.
        connect_s: How long connecting may take, in seconds; how long all else may take is up to who reads the stream.
        max_retries: How often a request is sent again.
    """
    timeout = httpx2.Timeout(_LONGEST_SILENCE_S, connect=connect_s)
    # aiohttp reads HTTP in C, and all that waits at once: half the time for a token, a third less for the first.
    client = DefaultAioHttpClient if find_spec("aiohttp") else DefaultAsyncHttpxClient
    return AsyncOpenAI(
        api_key=api_key or "none",
        base_url=base_url or OPENAI_URL,
        max_retries=max_retries,
        timeout=timeout,
        http_client=client(timeout=timeout, event_hooks={"response": [_refuse_long_waits]}),
    )


async def _refuse_long_waits(response: httpx2.Response) -> None:
    """Keep the client from sleeping as long as a server asks: the next model answers sooner."""
    header = response.headers.get("retry-after")
    if header and retry_after_s(header) > _LONGEST_RETRY_WAIT_S:
        response.headers["x-should-retry"] = "false"
