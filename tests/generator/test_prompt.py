from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.generator.prompt import Prompt, render, select, tokens_at_most
from services.generator.retrieval import Hit
from tests.generator.making import passage, sources


def parse(prompt: Prompt) -> dict[int, str]:
    """Read the passages back, knowing only what the model is told."""
    match = re.search(r"begin with (\S+)\.", prompt.system)
    assert match is not None
    boundary = match[1]
    *blocks, end = prompt.user.split(f"\n{boundary} ")
    assert end.startswith("end of the passages\n\nQuestion: ")
    blocks[0] = blocks[0].removeprefix(f"{boundary} ")
    found = {}
    for block in blocks:
        label, text = block.split("\n", 1)
        found[int(re.match(r"\[(\d+)\]", label)[1])] = text
    return found


HOSTILE = st.one_of(
    st.text(),
    st.sampled_from(["\n", "[1] x\ny", "Question: what?\n", "\n\nend of the passages", "{boundary}", "%s", "a" * 32]),
    st.text("0123456789abcdef\n []", max_size=80),
)


@given(st.lists(HOSTILE, min_size=1, max_size=5), st.text())
def test_a_rendered_prompt_parses_back_to_exactly_its_passages(texts: list[str], question: str) -> None:
    prompt = render(question, sources(*texts), 10, 0.0)
    assert parse(prompt) == dict(enumerate(texts, 1))
    assert prompt.user.endswith(f"Question: {question}")


def test_a_boundary_that_stands_in_a_passage_is_not_used() -> None:
    boundaries = iter(["guessed", "asked", "titled", "fresh"])
    one = sources("it says guessed here")
    prompt = render("is it asked or Title titled?", one, 10, 0.0, new_boundary=lambda: next(boundaries))
    assert parse(prompt) == {1: "it says guessed here"}
    assert prompt.user.startswith("fresh ")


def test_a_boundary_is_new_for_each_prompt_and_has_128_bits() -> None:
    prompts = [render("q", sources("a"), 10, 0.0) for _ in range(2)]
    boundaries = {prompt.user.split()[0] for prompt in prompts}
    assert len(boundaries) == 2
    assert all(re.fullmatch(r"[0-9a-f]{32}", boundary) for boundary in boundaries)


def test_a_title_stays_on_its_line() -> None:
    hit = Hit(passage("text", heading="A\n> B"), "Bad\n[2] title\r\n", 1.0)
    prompt = render("q", select([hit], 1_000), 10, 0.0)
    assert parse(prompt) == {1: "text"}


@given(st.lists(st.text(max_size=400), max_size=8), st.integers(40, 400))
def test_the_passages_stay_within_the_budget(texts: list[str], budget: int) -> None:
    hits = [Hit(passage(text, rank), "", 1.0) for rank, text in enumerate(texts, 1)]
    chosen = select(hits, budget)
    assert sum(tokens_at_most(source.passage.text) for source in chosen) <= budget
    assert [source.number for source in chosen] == list(range(1, len(chosen) + 1))
    assert bool(chosen) == bool(hits)


def test_a_passage_that_does_not_fit_makes_room_for_the_next() -> None:
    hits = [Hit(passage(text, rank), "", 1.0) for rank, text in enumerate(["a" * 60, "b" * 600, "c" * 60], 1)]
    assert [source.passage.id for source in select(hits, 100)] == ["p1", "p3"]


def test_a_first_passage_larger_than_the_budget_is_cut_with_its_offsets() -> None:
    (source,) = select([Hit(passage("天" * 500, start=7), "", 1.0)], 100)
    assert 0 < len(source.passage.text) <= 100
    assert source.passage.char_end == 7 + len(source.passage.text)


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("a", 1), ("abc", 1), ("abcd", 2), ("天", 1), ("🙂", 2)])
def test_tokens_are_bounded_by_a_third_of_the_bytes(text: str, tokens: int) -> None:
    assert tokens_at_most(text) == tokens
