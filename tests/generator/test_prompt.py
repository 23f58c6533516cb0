from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.generator.prompting import templates
from services.generator.prompting.prompt import Prompt, Prompts
from services.generator.question import Question, Role, Turn
from services.generator.retrieval import Hit
from tests.generator.making import passage, prompt_of, prompts_of, question_of, sources

PROMPTS = prompts_of()


def boundary_of(prompt: Prompt) -> str:
    match = re.search(r"begins? with (\w+)", prompt.system)
    assert match is not None
    return match[1]


def parse(prompt: Prompt) -> dict[int, str]:
    """Read the passages back, knowing only what the model is told."""
    boundary = boundary_of(prompt)
    *blocks, end = prompt.user.split(f"\n{boundary} ")
    assert end.startswith("end of the passages\n\nQuestion: ")
    blocks[0] = blocks[0].removeprefix(f"{boundary} ")
    found = {}
    for block in blocks:
        label, text = block.split("\n", 1)
        found[int(re.match(r"\[(\d+)\]", label)[1])] = text
    return found


def asked(text: str, *history: Turn) -> Question:
    """A question that is not checked: the boundaries must hold for any text."""
    return Question(text, 8, "hybrid", None, b"", 10, 0.0, history)


HOSTILE = st.one_of(
    st.text(),
    st.sampled_from(["\n", "[1] x\ny", "Question: what?\n", "\n\nend of the passages", "$boundary", "%s", "a" * 32]),
    st.text("0123456789abcdef\n []", max_size=80),
)


@given(st.lists(HOSTILE, min_size=1, max_size=5), st.text())
def test_a_rendered_prompt_parses_back_to_exactly_its_passages(texts: list[str], question: str) -> None:
    prompt = PROMPTS.render(asked(question), question, sources(*texts))
    assert parse(prompt) == dict(enumerate(texts, 1))
    assert prompt.user.endswith(f"Question: {question}")


def test_a_boundary_that_stands_in_a_text_is_not_used() -> None:
    boundaries = iter(["guessed", "asked", "titled", "said", "answered", "fresh"])
    prompts = prompts_of(new_boundary=lambda: next(boundaries))
    turns = [Turn(Role.USER, "I said so"), Turn(Role.ASSISTANT, "and I answered")]
    prompt = prompts.render(question_of("is it asked or Title titled?", *turns), "q", sources("it says guessed here"))
    assert parse(prompt) == {1: "it says guessed here"}
    assert prompt.user.startswith("fresh ")


@given(st.lists(st.text("ab", min_size=1, max_size=6), min_size=1, max_size=4), st.text("ab", max_size=6), st.data())
def test_a_boundary_occurs_only_where_it_fences(texts: list[str], question: str, data: st.DataObject) -> None:
    turns = tuple(Turn(Role.USER, text) for text in data.draw(st.lists(st.text("ab", min_size=1), max_size=3)))
    tried = iter([*(text[:3] or "a" for text in (question, *texts, *(turn.text for turn in turns))), "fresh"])
    prompts = prompts_of(new_boundary=lambda: next(tried))
    prompt = prompts.render(asked(question, *turns), question, sources(*texts))
    boundary = prompt.user.split(" ", 1)[0]
    outside = [question, *texts, *(turn.text for turn in prompt.history), *(f"Title {n}" for n in range(9))]
    assert not [text for text in outside if boundary in text]
    assert prompt.user.count(boundary) == len(texts) + 1


def test_a_boundary_is_new_for_each_prompt_and_has_128_bits() -> None:
    boundaries = {prompt_of("q", "a").user.split()[0] for _ in range(2)}
    assert len(boundaries) == 2
    assert all(re.fullmatch(r"[0-9a-f]{32}", boundary) for boundary in boundaries)


def test_a_title_stays_on_its_line() -> None:
    hit = Hit(passage("text", heading="A\n> B"), "Bad\n[2] title\r\n", 1.0)
    prompt = PROMPTS.render(question_of("q"), "q", PROMPTS.select([hit]))
    assert parse(prompt) == {1: "text"}


@given(st.lists(st.text(max_size=400), max_size=8), st.integers(100, 700))
def test_the_passages_stay_within_the_budget(texts: list[str], budget: int) -> None:
    prompts = prompts_of(budget)
    hits = [Hit(passage(text, rank), "", 1.0) for rank, text in enumerate(texts, 1)]
    chosen = prompts.select(hits)
    rendered = prompts.render(question_of("q"), "q", chosen).user.rsplit("\n\n", 1)[0]
    assert len(rendered.encode()) - len(f"{'f' * 32} end of the passages") <= budget
    assert [source.number for source in chosen] == list(range(1, len(chosen) + 1))
    assert bool(chosen) == bool(hits)


def test_a_passage_that_does_not_fit_makes_room_for_the_next() -> None:
    hits = [Hit(passage(text, rank), "", 1.0) for rank, text in enumerate(["a" * 60, "b" * 600, "c" * 60], 1)]
    assert [source.passage.id for source in prompts_of(300).select(hits)] == ["p1", "p3"]


def test_a_first_passage_larger_than_the_budget_is_cut_with_its_offsets() -> None:
    (source,) = prompts_of(300).select([Hit(passage("天" * 500, start=7), "", 1.0)])
    assert len(source.passage.text) == 85  # 45 of the 300 are the fence, the label and two ends of lines
    assert source.passage.char_end == 7 + 85


def test_a_cut_passage_is_as_long_as_the_tokenizer_allows() -> None:
    prompts = Prompts(templates.load(), lambda text: len(text.split()), 20, 0)
    (source,) = prompts.select([Hit(passage("word " * 500), "", 1.0)])
    assert len(source.passage.text.split()) == 20 - 4  # the fence, the number, "page 1"


def test_the_question_is_asked_as_it_stands_and_kept_as_it_is_searched_for() -> None:
    prompt = PROMPTS.render(question_of("And then?"), "What comes after spring?", sources("Summer."))
    assert prompt.user.endswith("Question: And then?")
    assert prompt.question == "What comes after spring?"
    assert "after spring" not in "".join(text for _, text in prompt.messages())


def test_the_conversation_stands_between_system_and_question() -> None:
    turns = [Turn(Role.USER, "Is it green?"), Turn(Role.ASSISTANT, "It is [1].")]
    prompt = PROMPTS.render(question_of("Why?", *turns), "Why is it green?", sources("Grass."))
    assert prompt.messages() == [
        ("system", prompt.system),
        ("user", "Is it green?"),
        ("assistant", "It is."),
        ("user", prompt.user),
    ]


@given(st.lists(st.builds(Turn, st.sampled_from(Role), st.text("xy", min_size=1, max_size=5)), max_size=8))
def test_roles_take_turns_and_nothing_is_lost(turns: list[Turn]) -> None:
    prompt = PROMPTS.render(asked("q", *turns), "q", sources("a"))
    roles = [role for role, _ in prompt.messages()]
    assert roles == ["system", *(["user", "assistant"] * len(roles))[: len(roles) - 1]]
    assert roles[-1] == "user"
    said = "\n\n".join([prompt.system, *(turn.text for turn in prompt.history), prompt.user])
    assert "\n\n".join(text for _, text in prompt.messages()) == said


def test_the_version_changes_with_what_is_given_to_a_model() -> None:
    versions = {prompts_of(*budgets).version for budgets in [(300, 0), (400, 0), (300, 1)]}
    assert len(versions) == 3
    assert prompts_of(300, 0).version in versions


def test_a_prompt_knows_a_bound_of_its_tokens() -> None:
    prompt = Prompt("q", (), "12", "天", 10, 0.0, (Turn(Role.USER, "a"), Turn(Role.ASSISTANT, "b")))
    assert prompt.tokens_at_most() == 2 + 1 + 1 + 3 + 4 * 4


@pytest.mark.parametrize("history", [(), (Turn(Role.ASSISTANT, "Hello."),)])
def test_without_a_question_before_there_is_nothing_to_rewrite(history: tuple[Turn, ...]) -> None:
    assert PROMPTS.render_rewriting(question_of("Why?", *history)) is None


def test_a_rewriting_carries_the_conversation_between_boundaries() -> None:
    turns = [Turn(Role.USER, "Is it\ngreen?"), Turn(Role.ASSISTANT, "It is [1].")]
    prompt = PROMPTS.render_rewriting(question_of("Why?", *turns))
    boundary = boundary_of(prompt)
    assert prompt.user == (
        f"{boundary} user\nIs it\ngreen?\n{boundary} assistant\nIt is.\n"
        f"{boundary} end of the conversation\n\nLast question: Why?"
    )
    assert (prompt.temperature, prompt.max_tokens, prompt.sources, prompt.history) == (0.0, 128, (), ())
