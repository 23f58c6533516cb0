from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.generator.adapters.openai_answer import OpenAIAnswer
from services.generator.adapters.openai_errors import ModelServerError
from services.generator.adapters.openai_lines import OpenAILines
from tests.generator.making import prompt_of

STREAM = (
    b': a comment\n\nevent: x\ndata: {"a": 1}\nid: 7\n\ndata:{"b":2}\r\n\r\ndata:  two\ndata: lines\n\n\n\n'
    b'data: {"c": "\xc3\xa9"}\n\n:\n\ndata: [DONE]\n\ndata: never ended\n'
)
EVENTS = [b'{"a": 1}', b'{"b":2}', b" two\nlines", b'{"c": "\xc3\xa9"}']


@given(st.lists(st.integers(0, len(STREAM)), max_size=len(STREAM)))
def test_the_events_are_the_same_wherever_the_stream_is_cut(cuts: list[int]) -> None:
    lines, edges = OpenAILines(), [0, *sorted(cuts), len(STREAM)]
    events = [event for start, end in pairwise(edges) for event in lines.feed(STREAM[start:end])]
    assert events == EVENTS


@pytest.mark.parametrize("piece", [b"x" * 1_000, b"data: " + b"x" * 1_000 + b"\n"])
def test_an_event_without_an_end_is_not_kept_for_ever(piece: bytes) -> None:
    lines = OpenAILines()
    for _ in range(1_000):
        assert lines.feed(piece) == []
    with pytest.raises(ValueError, match="without an end"):
        lines.feed(100 * piece)


def answer() -> OpenAIAnswer:
    return OpenAIAnswer("openai", "m", prompt_of("What?", "That."))


@pytest.mark.parametrize(
    "event",
    [
        b"",
        b"{",
        b"[]",
        b"1",
        b"null",
        b'"text"',
        b'{"choices": 1}',
        b'{"choices": {"0": 1}}',
        b'{"choices": ["text"]}',
        b'{"choices": [{"delta": "text"}]}',
        b'{"choices": [{"delta": {"content": [1]}}]}',
        b'{"choices": [{"finish_reason": 7}]}',
        b'{"usage": 7}',
        b'{"choices": [{"delta": {"content": "a"}}], "model": 7}',
        b'{"a": "\\ud83d", ' + b"[" * 100_000,
    ],
)
def test_an_event_of_another_form_is_refused(event: bytes) -> None:
    with pytest.raises(ValueError):
        answer().take([event])


@pytest.mark.parametrize("event", [b'{"error": {"message": "x"}}', b'{"error": "x", "choices": []}'])
def test_an_error_inside_the_stream_is_one(event: bytes) -> None:
    with pytest.raises(ModelServerError):
        answer().take([event])


@pytest.mark.parametrize(
    "usage",
    [b"{}", b"null", b'{"prompt_tokens": 3}', b'{"prompt_tokens": -1, "completion_tokens": 2}',
     b'{"prompt_tokens": 1e3, "completion_tokens": 2}', b'{"prompt_tokens": 99999999999999999999, "completion_tokens": 2}'],
)  # fmt: skip
def test_a_usage_that_makes_no_sense_is_estimated(usage: bytes) -> None:
    taken = answer()
    assert taken.take([b'{"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]}']) == "a"
    taken.take([b'{"choices": [], "usage": ' + usage + b"}"])
    assert taken.finish().estimated


@given(st.text(min_size=1), st.data())
def test_text_is_the_same_wherever_the_server_cuts_it(text: str, data: st.DataObject) -> None:
    """The server cuts between UTF-16 halves and escapes each delta by itself, as JSON does."""
    units = text.encode("utf-16-le", "surrogatepass")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(units) // 2), max_size=5)))
    edges = [0, *cuts, len(units) // 2]
    deltas = [units[2 * a : 2 * b].decode("utf-16-le", "surrogatepass") for a, b in pairwise(edges)]
    taken = answer()
    got = "".join(taken.take([json.dumps({"choices": [{"delta": {"content": delta}}]}).encode()]) for delta in deltas)
    assert got == text
