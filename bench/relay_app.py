"""What is written in an afternoon: one FastAPI process that passes a model's stream on with the openai client.

The yardstick of `make bench-stream`: `python -m bench.relay_app PORT MODEL_URL`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI

_PASSAGES = "\n".join(f"[{number}] " + "What the handbook says about parts that fail. " * 12 for number in range(1, 9))


def app(model_url: str) -> FastAPI:
    """Return the app, in front of an OpenAI-compatible server."""
    client = AsyncOpenAI(api_key="none", base_url=model_url)
    made = FastAPI()

    @made.post("/v1/query")
    async def query(request: Request) -> StreamingResponse:
        question = (await request.json())["question"]
        return StreamingResponse(answer(question), media_type="text/event-stream")

    async def answer(question: str) -> AsyncIterator[str]:
        stream = await client.chat.completions.create(
            model="bench",
            messages=[{"role": "system", "content": _PASSAGES}, {"role": "user", "content": question}],
            stream=True,
            stream_options={"include_usage": True},
        )
        async with stream:
            async for chunk in stream:
                if chunk.choices and (text := chunk.choices[0].delta.content):
                    yield f"event: token\ndata: {json.dumps({'text': text})}\n\n"
        yield "event: done\ndata: {}\n\n"

    return made


if __name__ == "__main__":
    uvicorn.run(app(sys.argv[2]), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
