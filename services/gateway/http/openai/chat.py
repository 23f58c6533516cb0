"""Chat completions: a question to the documents, in OpenAI's shape."""

from __future__ import annotations

import time
from collections.abc import Callable

from fastapi import Request, Response

from rag.v1.generator_pb2_grpc import GeneratorServiceStub
from services.gateway.http.calls import allow, json_response, while_connected
from services.gateway.http.deps import Deps
from services.gateway.http.openai import conversation, streaming
from services.gateway.http.openai.bodies import ChatBody
from services.gateway.http.openai.shapes import Head
from services.gateway.http.query import collect_answer


class Chat:
    """The route of chat completions.

    Args:
        deps: What it needs.
        clock: Tells the time in seconds since 1970.
    """

    def __init__(self, deps: Deps, clock: Callable[[], float] = time.time) -> None:
        self._deps = deps
        self._clock = clock
        self._generator = GeneratorServiceStub(deps.peers.generator.channel)

    async def complete(self, request: Request, body: ChatBody) -> Response:
        """Answer the last message of a conversation from the documents, with citations.

        Markers such as `[1]` stand in the text. Each has an annotation of the type `url_citation`: where it stands
        (`content[start_index:end_index]`, in Unicode code points), the title of the document, and a URL of its passages that
        says passage and page after the `#`. The member `rag` holds what OpenAI's shape has no place for: answer id, sources
        with their text and scores, citations with their quotes, notices, usage with cost, provider, cache and times, and our
        own `finish_reason`, `no_context` when nothing relevant was found.

        A stream sends the role at once, the text as it is written, all annotations in one delta, then the `finish_reason`
        with `rag`. An answer that breaks off ends with `data: {"error": ...}` and without `[DONE]`.

        The server has its own system prompt: system and developer messages are accepted, not obeyed, and a notice in `rag`
        says so. Parameters that would have to change the answer and cannot are refused by name; those that do no harm, such
        as `top_p`, `seed`, `user` and `store`, are ignored.
        """
        asked = conversation.asked(body)
        allow(self._deps.settings.query_timeout_s)
        events = self._deps.peers.generator.stream(self._generator.Generate, asked.request)
        head = Head(body.model, int(self._clock()), str(request.base_url))
        if body.stream:
            with_usage = bool(body.stream_options and body.stream_options.include_usage)
            frames = streaming.chunks(events, head, asked.notices, with_usage=with_usage)
            # No `retry`: these clients take it for an event.
            return self._deps.event_stream(frames, opening=b"", broken=streaming.broken)
        answer = await while_connected(request, collect_answer(events))
        return json_response(head.completion(answer, asked.notices))
