from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.runtime.context import CallContext, bound
from rag.runtime.errors import DeadlineExceeded, Unavailable
from services.generator.events import FinishReason, Notice
from services.generator.prompting.prompt import Prompt
from services.generator.prompting.standalone import Rewritten, Standalone, cleaned
from services.generator.question import MAX_QUESTION_CHARS, Question, Role, Turn
from services.generator.writing.chat import Finish
from tests.generator.making import prompts_of, question_of

FINISH = Finish(FinishReason.STOP, "openai", "m", 50, 7, estimated=False)
BEFORE = (Turn(Role.USER, "Who wrote Dune?"), Turn(Role.ASSISTANT, "Frank Herbert [1]."))
JOINED = "Who wrote Dune? When?"


class Writers:
    """Writes what the test says, and remembers what it was asked."""

    def __init__(self, *pieces: str | Finish | Notice | Exception) -> None:
        self.pieces = pieces
        self.prompts: list[Prompt] = []
        self.hangs = False
        self.entered = asyncio.Event()
        self.left = False

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Finish | Notice]:
        self.prompts.append(prompt)
        self.entered.set()
        try:
            for piece in self.pieces:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
            if self.hangs:
                await asyncio.Event().wait()
        finally:
            self.left = True


async def rewritten(
    writers: Writers | None, question: Question | None = None, left_s: float = 60.0, timeout_s: float = 20.0
) -> Rewritten:
    standalone = Standalone(prompts_of(), writers, timeout_s)
    with bound(CallContext("req", "acme", time.monotonic() + left_s)):
        return await standalone.of(question or question_of("When?", *BEFORE))


async def test_a_question_without_a_conversation_is_itself() -> None:
    writers = Writers()
    assert await rewritten(writers, question_of("Who wrote Dune?")) == Rewritten("Who wrote Dune?")
    assert not writers.prompts


async def test_the_model_rewrites_the_question_and_its_tokens_are_told() -> None:
    writers = Writers(Notice("FALLBACK_X", "."), '"When did Frank ', 'Herbert write Dune?"\n', FINISH)
    assert await rewritten(writers) == Rewritten("When did Frank Herbert write Dune?", FINISH)
    (prompt,) = writers.prompts
    assert (prompt.temperature, prompt.max_tokens) == (0.0, 128)
    assert "Who wrote Dune?" in prompt.user
    assert writers.left


@pytest.mark.parametrize("timeout_s", [20.0, 0.0])
async def test_without_a_model_the_question_before_is_put_in_front(timeout_s: float) -> None:
    writers = Writers("no", FINISH) if timeout_s == 0 else None
    assert await rewritten(writers, timeout_s=timeout_s) == Rewritten(JOINED)


@pytest.mark.parametrize(
    ("pieces", "finish"),
    [
        ((Unavailable("Away.", "MODEL_UNAVAILABLE"),), None),
        (("When did", Unavailable("Cut.", "MODEL_STREAM_CUT")), None),
        (("\n '' ", FINISH), FINISH),
        (("?!", FINISH), FINISH),
    ],
    ids=["away", "cut", "empty", "no word"],
)
async def test_a_model_that_fails_is_told(pieces: tuple[str | Finish | Exception, ...], finish: Finish | None) -> None:
    got = await rewritten(Writers(*pieces))
    assert (got.text, got.finish, got.notice.code) == (JOINED, finish, "REWRITE_SKIPPED")


async def test_a_question_cut_by_its_length_is_not_used() -> None:
    cut = Finish(FinishReason.LENGTH, "openai", "m", 50, 128, estimated=False)
    got = await rewritten(Writers("When did Frank", cut))
    assert (got.text, got.finish, got.notice.code) == (JOINED, cut, "REWRITE_SKIPPED")


@pytest.mark.parametrize(("left_s", "timeout_s"), [(60.0, 0.05), (2.2, 20.0)], ids=["its own limit", "its share"])
async def test_a_model_that_is_too_slow_is_left(left_s: float, timeout_s: float) -> None:
    writers = Writers("When did")
    writers.hangs = True
    got = await rewritten(writers, left_s=left_s, timeout_s=timeout_s)
    assert (got.text, got.notice.code) == (JOINED, "REWRITE_SKIPPED")
    assert writers.left


async def test_with_little_time_left_no_model_is_asked() -> None:
    writers = Writers("When did Frank Herbert write Dune?", FINISH)
    got = await rewritten(writers, left_s=1.5)
    assert (got.text, got.notice.code, writers.prompts) == (JOINED, "REWRITE_SKIPPED", [])


async def test_with_no_time_left_nothing_is_done() -> None:
    with pytest.raises(DeadlineExceeded):
        await rewritten(Writers(), left_s=-1.0)


async def test_leaving_ends_the_model() -> None:
    writers = Writers("When did")
    writers.hangs = True
    task = asyncio.create_task(rewritten(writers))
    await writers.entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert writers.left


async def test_a_bug_is_not_taken_for_a_failing_model() -> None:
    with pytest.raises(KeyError):
        await rewritten(Writers(KeyError("bug")))


@pytest.mark.parametrize(
    ("history", "text"),
    [
        ((Turn(Role.ASSISTANT, "Hello."),), "When?"),
        ((*BEFORE, Turn(Role.USER, "And Solaris?")), "And Solaris? When?"),
        ((Turn(Role.USER, "a" * 32_768),), "a" * (MAX_QUESTION_CHARS - 6) + " When?"),
    ],
    ids=["no question before", "the newest", "a long one"],
)
async def test_the_question_before_is_the_users_newest_within_the_limit(history: tuple[Turn, ...], text: str) -> None:
    assert (await rewritten(None, question_of("When?", *history))).text == text


@given(st.text("ab ", max_size=50).map(lambda text: text * 400), st.integers(1, MAX_QUESTION_CHARS))
async def test_a_joined_question_ends_with_the_question_and_is_never_too_long(before: str, length: int) -> None:
    question = question_of("q" * length, Turn(Role.USER, before + "."))
    text = (await rewritten(None, question)).text
    assert text.endswith(question.text)
    assert len(text) <= MAX_QUESTION_CHARS


async def test_a_conversation_that_does_not_fit_is_not_sent() -> None:
    writers = Writers("x", FINISH)
    history = (Turn(Role.USER, "Dune?"), Turn(Role.ASSISTANT, "a" * 30_000))
    assert await rewritten(writers, question_of("When?", *history)) == Rewritten("Dune? When?")
    assert not writers.prompts


@pytest.mark.parametrize(
    ("written", "question"),
    [
        ("When?", "When?"),
        (' "When\n  was it?" ', "When was it?"),
        ("Question: When?", "When?"),
        ("Standalone question: “When?”", "When?"),
        ('"Question: When?"', "When?"),
        ("LAST QUESTION：何時ですか", "何時ですか"),
        ('What is "it"?', 'What is "it"?'),
        ('"a" or "b"', '"a" or "b"'),
        ("'", ""),
        ("Question:", ""),
        ("", ""),
        ("x" * 5_000, "x" * 1_000),
    ],
)
def test_what_a_model_wrote_is_cleaned(written: str, question: str) -> None:
    assert cleaned(written) == question


@given(st.text())
def test_a_cleaned_question_is_one_short_line(written: str) -> None:
    question = cleaned(written)
    assert question == " ".join(question.split())
    assert len(question) <= 1_000
