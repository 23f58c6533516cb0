"""An answer as the chunks that OpenAI's clients read."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import orjson

from rag.runtime.errors import RagError
from rag.v1 import generator_pb2 as pb
from services.gateway.http import sse
from services.gateway.http.openai import errors, shapes
from services.gateway.http.openai.shapes import Head, Json
from services.gateway.http.problems import problem_of
from services.gateway.http.query import AnswerSoFar

DONE = b"data: [DONE]\n\n"


async def chunks(
    events: AsyncGenerator[pb.GenerateResponse, None], head: Head, notices: Sequence[Json], *, with_usage: bool
) -> AsyncGenerator[bytes, None]:
    """Yield an answer as frames.

    One chunk with the role, at once; one per token; one with all annotations, since clients keep the last such list they
    see; one with the reason of the end and `rag`; one with the usage when it is asked for; `[DONE]`.

    Raises:
        Internal: ANSWER_INCOMPLETE when the events stop before the last one.
    """
    answer = AnswerSoFar()
    frames = _Frames(head, with_usage=with_usage)
    async with aclosing(events):
        async for event in events:
            answer.add(event)
            name = event.WhichOneof("event")
            if name == "accepted":
                yield frames.first(event.accepted.answer_id)
            elif name == "token":
                yield frames.token(event.token.text)
    for one in frames.last(answer.whole(), notices):
        yield one


def broken(error: RagError) -> bytes:
    """Return the event of an answer that broke off. No `[DONE]` follows."""
    return sse.data(orjson.dumps(errors.body_of(problem_of(error))))


class _Frames:
    def __init__(self, head: Head, *, with_usage: bool) -> None:
        self._head = head
        self._with_usage = with_usage
        self._id = ""
        self._around: tuple[bytes, bytes] = (b"", b"")

    def first(self, answer_id: str) -> bytes:
        self._id = answer_id
        # Many tokens a second: what they share is encoded once.
        before, after = self._chunk({"content": "\x00"}).split(b'"\\u0000"')
        self._around = (before, after)
        return self._chunk({"role": "assistant", "content": "", "refusal": None})

    def token(self, text: str) -> bytes:
        before, after = self._around
        return before + sse.escaped(orjson.dumps(text)) + after  # nothing around it needs to be escaped

    def last(self, answer: Json, notices: Sequence[Json]) -> list[bytes]:
        annotations = self._head.annotations(answer)
        frames = [self._chunk({"annotations": annotations})] if annotations else []
        extension = shapes.extension(answer, notices)
        frames.append(self._chunk({}, shapes.finish_reason(answer), rag=extension))
        if self._with_usage:
            frames.append(_frame(self._head.chunk(self._id, None, usage=shapes.usage(answer))))
        return [*frames, DONE]

    def _chunk(self, delta: Json, finish_reason: str | None = None, **more: Json) -> bytes:
        # As OpenAI does it: asked for, the usage is null in all chunks but its own.
        empty = {"usage": None} if self._with_usage else {}
        return _frame(self._head.chunk(self._id, delta, finish_reason, **empty, **more))


def _frame(chunk: Json) -> bytes:
    return sse.data(orjson.dumps(chunk))
