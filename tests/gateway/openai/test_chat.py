"""The official clients, sync and async, ask and get a cited answer, whole and as a stream."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.v1 import generator_pb2 as pb
from services.gateway.http.openai.shapes import Head
from services.gateway.http.query import AnswerSoFar
from tests.gateway.openai.cited import cited
from tests.gateway.openai.conftest import with_defaults


def sent(gateway) -> pb.GenerateRequest:
    return gateway.backends.generator.stage.requests[0]


@pytest.fixture
def told(gateway):
    gateway.backends.generator.stage.script = cited("Because 🙂 of this", 1, ", and that ", 2, ".")


async def test_a_question_is_answered_with_markers_annotations_and_the_rest_in_rag(gateway, told, ask):
    answer = await ask()

    assert (answer.id, answer.object, answer.model) == ("chatcmpl-ans-1", "chat.completion", "ragmesh")
    (choice,) = answer.choices
    assert (choice.index, choice.finish_reason, choice.message.role) == (0, "stop", "assistant")
    text = choice.message.content
    assert text == "Because 🙂 of this[1], and that [2]."
    one, two = [annotation.url_citation for annotation in choice.message.annotations]
    assert [text[cite.start_index : cite.end_index] for cite in (one, two)] == ["[1]", "[2]"]
    assert (two.title, two.url) == (
        "Title 2",
        f"http://127.0.0.1:{gateway.http_port}/v1/documents/doc%20%2F1/passages#passage=p-2&page=2",
    )
    assert answer.usage.to_dict() == {
        "prompt_tokens": 70,
        "completion_tokens": 7,
        "total_tokens": 77,
        "prompt_tokens_details": {"cached_tokens": 30},
    }
    assert answer.rag["answer_id"] == "ans-1"
    assert answer.rag["finish_reason"] == "stop"
    assert [source["number"] for source in answer.rag["sources"]] == [1, 2]
    assert answer.rag["citations"][0]["quote"] == "Text."
    assert (answer.rag["usage"]["cost_usd"], answer.rag["usage"]["provider"]) == (0.5, "openai")


@pytest.mark.parametrize("with_usage", [True, False])
async def test_the_same_answer_comes_as_chunks(told, ask, with_usage):
    more = {"stream_options": {"include_usage": True}} if with_usage else {}
    whole, chunks = await ask(), await ask(stream=True, **more)

    assert {(chunk.id, chunk.object, chunk.model) for chunk in chunks} == {
        ("chatcmpl-ans-1", "chat.completion.chunk", "ragmesh")
    }
    assert len({chunk.created for chunk in chunks}) == 1
    if with_usage:
        usage = chunks.pop()
        assert (usage.choices, usage.usage) == ([], whole.usage)
        assert all("usage" in chunk.model_fields_set and chunk.usage is None for chunk in chunks)
    else:
        assert all("usage" not in chunk.model_fields_set for chunk in chunks)
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert (deltas[0].role, deltas[0].content) == ("assistant", "")
    assert "".join(delta.content or "" for delta in deltas) == whole.choices[0].message.content
    (annotations,) = [delta.annotations for delta in deltas if getattr(delta, "annotations", None)]
    assert annotations == [annotation.to_dict() for annotation in whole.choices[0].message.annotations]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert chunks[-1].rag == whole.rag
    assert not any("rag" in (chunk.model_extra or {}) for chunk in chunks[:-1])


async def test_the_helper_of_the_client_that_gathers_a_stream_takes_it(told, client):
    async with client.chat.completions.stream(**with_defaults({})) as stream:
        kinds = {event.type async for event in stream}
        whole = await stream.get_final_completion()

    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert whole.choices[0].message.content == "Because 🙂 of this[1], and that [2]."
    assert [one.url_citation.title for one in whole.choices[0].message.annotations] == ["Title 1", "Title 2"]


async def test_the_bytes_of_a_stream_are_those_that_openai_sends(gateway, told):
    response = await gateway.http.post("/v1/chat/completions", json=with_defaults({"stream": True}))

    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["x-accel-buffering"] == "no"
    lines = response.text.split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    assert all(line.startswith("data: ") and "\n" not in line for line in lines[:-1])
    assert json.loads(lines[1].removeprefix("data: "))["choices"] == [
        {"index": 0, "delta": {"content": "Because 🙂 of this"}, "logprobs": None, "finish_reason": None}
    ]


@pytest.mark.parametrize(
    ("reason", "finish", "own"),
    [
        (pb.FINISH_REASON_STOP, "stop", "stop"),
        (pb.FINISH_REASON_LENGTH, "length", "length"),
        (pb.FINISH_REASON_NO_CONTEXT, "stop", "no_context"),
    ],
)
async def test_why_an_answer_ended_is_said_in_both_words(gateway, ask, reason, finish, own):
    gateway.backends.generator.stage.script = cited("No.", finish=reason)

    whole, chunks = await ask(), await ask(stream=True)

    for told in (whole, chunks[-1]):
        assert (told.choices[0].finish_reason, told.rag["finish_reason"]) == (finish, own)
    assert whole.choices[0].message.annotations == []


async def test_the_last_message_is_the_question_and_those_before_are_the_history(gateway, ask):
    messages = [
        {"role": "system", "content": "Speak like a pirate."},
        {"role": "user", "content": "why?"},
        {"role": "assistant", "content": "so [1]"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": [{"type": "text", "text": "and"}, {"type": "text", "text": "how?"}]},
        {"role": "developer", "content": "Arr."},
    ]
    answer = await ask(messages=messages, max_tokens=5, max_completion_tokens=9, temperature=0)

    request = sent(gateway)
    assert request.question == "and\nhow?"
    assert [(turn.role, turn.text) for turn in request.history] == [
        (pb.ROLE_USER, "why?"),
        (pb.ROLE_ASSISTANT, "so [1]"),
    ]
    assert (request.max_tokens, request.HasField("temperature"), request.HasField("use_cache")) == (9, True, False)
    assert [notice["code"] for notice in answer.rag["notices"]] == ["SYSTEM_MESSAGE_IGNORED", "KEYWORD_ONLY"]


async def test_of_a_conversation_that_is_too_long_the_oldest_is_left_out(gateway, client):
    turns = [{"role": "user", "content": f"{n}"} for n in range(150)]
    answer = await client.chat.completions.create(model="ragmesh", messages=turns)

    assert [turn.text for turn in sent(gateway).history] == [str(n) for n in range(49, 149)]
    assert answer.rag["notices"][0]["code"] == "HISTORY_CUT"


@pytest.mark.parametrize(("sizes", "kept"), [([40_000, 5], 1), ([30_000, 30_000, 30_000], 2), ([32_768, 32_768], 2)])
async def test_a_history_of_long_messages_is_cut_too(gateway, client, sizes, kept):
    turns = [{"role": "user", "content": "x" * size} for size in [*sizes, 1]]
    await client.chat.completions.create(model="ragmesh", messages=turns)

    assert [len(turn.text) for turn in sent(gateway).history] == sizes[len(sizes) - kept :]


@pytest.mark.parametrize(("model", "mode"), [("ragmesh", "HYBRID"), ("ragmesh-dense", "DENSE"), ("ragmesh-keyword", "KEYWORD")])  # fmt: skip
async def test_the_model_says_how_to_search(gateway, ask, model, mode):
    assert (await ask(model=model)).model == model
    assert (
        pb.GenerateRequest.DESCRIPTOR.fields_by_name["mode"]
        .enum_type.values_by_number[sent(gateway).mode]
        .name.endswith(mode)
    )


async def test_the_search_is_set_by_an_extra_body(gateway, ask):
    rag = {
        "top_k": 3,
        "mode": "dense",
        "min_score": 0.5,
        "use_cache": False,
        "filter": {"document_ids": ["a"], "conditions": [{"key": "year", "range": {"min": 2020}}]},
    }
    await ask(model="ragmesh-keyword", extra_body={"rag": rag})

    request = sent(gateway)
    assert (request.top_k, request.mode, request.min_score) == (3, 2, 0.5)
    assert (request.HasField("use_cache"), request.use_cache) == (True, False)
    assert list(request.filter.document_ids) == ["a"]
    assert request.filter.conditions[0].range.min == 2020


async def test_the_search_is_set_by_metadata_where_the_extra_body_says_nothing(gateway, ask):
    metadata = {
        "rag.filter.team": "ops",
        "rag.filter.year": "2024",
        "rag.top_k": "3",
        "rag.use_cache": "false",
        "rag.mode": "keyword",
        "session": "rag",
    }
    await ask(metadata=metadata, extra_body={"rag": {"top_k": 4, "filter": {"document_ids": ["a"]}}})

    request = sent(gateway)
    assert (request.top_k, request.mode, request.HasField("use_cache"), request.use_cache) == (4, 3, True, False)
    assert list(request.filter.document_ids) == ["a"]
    assert [(one.key, one.equals.text) for one in request.filter.conditions] == [("team", "ops"), ("year", "2024")]


async def test_what_asks_for_nothing_and_what_does_no_harm_is_taken(ask):
    answer = await ask(
        n=1, tools=[], tool_choice="auto", logprobs=False, response_format={"type": "text"}, modalities=["text"],
        stop=[], logit_bias={}, user="me", seed=1, store=True, metadata={"a": "b"}, top_p=0.5, presence_penalty=1,
        frequency_penalty=1, service_tier="auto", parallel_tool_calls=False, extra_body={"colour": "red"},
    )  # fmt: skip
    assert answer.choices[0].message.content == "Hello world"


@given(st.lists(st.one_of(st.text(alphabet=st.characters(exclude_categories=["Cs"])), st.integers(1, 99)), max_size=8))
def test_every_annotation_marks_its_marker_in_code_points(parts):
    answer = AnswerSoFar()
    for event in cited(*parts):
        answer.add(event)
    completion = Head("ragmesh", 0, "http://x/").completion(answer.whole(), [])

    message = completion["choices"][0]["message"]
    cites = [annotation["url_citation"] for annotation in message["annotations"]]
    marked = [message["content"][cite["start_index"] : cite["end_index"]] for cite in cites]
    assert marked == [f"[{part}]" for part in parts if isinstance(part, int)]
    assert [cite["title"] for cite in cites] == [f"Title {part}" for part in parts if isinstance(part, int)]
