"""Several models, one answer: who writes when the first does not, how long each may take, and who is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pytest

from rag.runtime.breaker import Breaker, State
from rag.runtime.context import bound, new_call
from rag.runtime.errors import DeadlineExceeded, FailedPrecondition, RagError, Unavailable
from services.generator.adapters.extractive_chat import ExtractiveChat
from services.generator.events import FinishReason, Notice
from services.generator.prompting.prompt import Prompt
from services.generator.writing.chat import ChatModel, Finish
from services.generator.writing.failover import Patience, Provider, Providers
from tests.clock import Clock
from tests.generator.making import prompt_of

PROMPT = prompt_of("What colour is the sky?", "The sky is blue by day. It is black at night.")
SHORT = Patience(first_token_s=0.1, next_token_s=0.1)
AWAY = Unavailable("away", "MODEL_UNAVAILABLE")


class Scripted:
    """A ChatModel that does what it is told: yields text, raises an error, or waits for ever at None."""

    model = "m"

    def __init__(self, *script: str | RagError | None, provider: str = "openai", finishes: bool = True) -> None:
        self.provider = provider
        self.script = script
        self.finishes = finishes
        self.asked = self.left = 0

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Finish]:
        self.asked += 1
        try:
            for step in self.script:
                if step is None:
                    await asyncio.Event().wait()
                elif isinstance(step, str):
                    yield step
                else:
                    raise step
            if self.finishes:
                yield Finish(FinishReason.STOP, self.provider, self.model, 1, 1, estimated=False, asked=self.model)
        finally:
            self.left += 1


def of(*models: ChatModel, patience: Patience = SHORT, breaker: Breaker | None = None) -> Providers:
    """Providers of the models, then extraction; the breaker guards the first."""
    guarded = [Provider(models[0], breaker), *(Provider(model) for model in models[1:])]
    return Providers([*guarded, Provider(ExtractiveChat())], patience)


async def collect(providers: Providers) -> tuple[str, list[Notice], Finish | RagError]:
    text, notices = "", []
    try:
        async with aclosing(providers.stream(PROMPT)) as pieces:
            async for piece in pieces:
                if isinstance(piece, str):
                    text += piece
                elif isinstance(piece, Notice):
                    assert not text
                    notices.append(piece)
                else:
                    return text, notices, piece
    except RagError as error:
        return text, notices, error
    raise AssertionError("the stream ended without a Finish")


def codes(notices: Sequence[Notice]) -> list[str]:
    return [notice.code for notice in notices]


async def test_the_first_model_writes_and_no_other_is_asked() -> None:
    first, second = Scripted("one", " two"), Scripted("zwei", provider="second")
    text, notices, finish = await collect(of(first, second))
    assert (text, notices, second.asked) == ("one two", [], 0)
    assert isinstance(finish, Finish)
    assert finish.provider == "openai"


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (Scripted(AWAY), "MODEL_UNAVAILABLE"),
        (Scripted(None), "MODEL_TIMEOUT"),
        (Scripted(finishes=False), "MODEL_STREAM_CUT"),
    ],
    ids=["fails", "hangs", "ends"],
)
async def test_the_next_model_takes_over_before_the_first_token(first: Scripted, reason: str) -> None:
    text, notices, finish = await collect(of(first, Scripted("zwei", provider="second")))
    assert (text, codes(notices)) == ("zwei", ["FALLBACK_MODEL"])
    assert f"Reason: {reason}." in notices[0].message
    assert isinstance(finish, Finish)
    assert finish.provider == "second"
    assert first.left == 1


async def test_extraction_is_the_last_resort_and_says_so() -> None:
    providers = of(Scripted(AWAY), Scripted(FailedPrecondition("no", "MODEL_AUTH"), provider="second"))
    text, notices, finish = await collect(providers)
    assert codes(notices) == ["FALLBACK_MODEL", "FALLBACK_EXTRACTIVE"]
    assert "MODEL_UNAVAILABLE" in notices[0].message
    assert "MODEL_AUTH" in notices[1].message
    assert text.startswith("The sky is blue by day. [1]")
    assert isinstance(finish, Finish)
    assert finish.provider == "extractive"


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (Scripted("one", AWAY), "MODEL_UNAVAILABLE"),
        (Scripted("one", None), "MODEL_TIMEOUT"),
        (Scripted("one", finishes=False), "MODEL_STREAM_CUT"),
    ],
    ids=["fails", "hangs", "ends"],
)
async def test_after_the_first_token_an_error_ends_the_answer(first: Scripted, reason: str) -> None:
    second = Scripted("zwei", provider="second")
    text, notices, error = await collect(of(first, second))
    assert (text, notices, second.asked, first.left) == ("one", [], 0, 1)
    assert isinstance(error, RagError)
    assert error.reason == reason


async def test_the_error_of_the_last_model_is_raised() -> None:
    providers = of(Scripted(AWAY)).without_last_resort()
    assert providers is not None
    assert await collect(providers) == ("", [], AWAY)


async def test_a_model_that_fails_is_left_alone_with_a_notice() -> None:
    first, breaker = Scripted(AWAY), Breaker("test", failures=5)
    providers = of(first, breaker=breaker)
    reasons = [(await collect(providers))[1][0].message.split()[-1] for _ in range(7)]
    assert reasons == ["MODEL_UNAVAILABLE."] * 5 + ["PROVIDER_PAUSED."] * 2
    assert first.asked == 5


async def test_the_same_breaker_guards_those_without_a_last_resort() -> None:
    breaker = Breaker("test", failures=1)
    providers = of(Scripted(AWAY), breaker=breaker)
    await collect(providers)
    models = providers.without_last_resort()
    assert models is not None
    _, _, error = await collect(models)
    assert isinstance(error, Unavailable)
    assert error.reason == "PROVIDER_PAUSED"
    assert Providers([Provider(ExtractiveChat())], SHORT).without_last_resort() is None


async def test_a_model_that_is_well_again_is_asked_again() -> None:
    now, first = [0.0], Scripted(AWAY)
    providers = of(first, breaker=Breaker("test", failures=1, pause_s=60, clock=lambda: now[0]))
    await collect(providers)
    first.script, now[0] = ("one",), 60.0
    assert (await collect(providers))[:2] == ("one", [])


@pytest.mark.parametrize(
    "step",
    [FailedPrecondition("no", "MODEL_REFUSED"), Unavailable("no", "MODEL_FILTERED"), Unavailable("", "MODEL_EMPTY_ANSWER")],
    ids=lambda step: step.reason,
)  # fmt: skip
async def test_what_the_request_itself_caused_opens_no_breaker(step: RagError) -> None:
    breaker = Breaker("test", failures=1)
    await collect(of(Scripted(step), breaker=breaker))
    assert breaker.state is State.CLOSED


@pytest.mark.parametrize("script", [(None,), ("one", None), ("one", AWAY), (AWAY,)], ids=str)
async def test_what_the_model_did_opens_it(script: tuple[str | RagError | None, ...]) -> None:
    breaker = Breaker("test", failures=1)
    await collect(of(Scripted(*script), breaker=breaker))
    assert breaker.state is State.OPEN


async def test_a_slow_first_token_opens_it_though_the_answer_is_good() -> None:
    first = Scripted("one")
    breaker = Breaker("test", failures=1, slow_s=0.1, clock=lambda: float(first.asked))
    assert (await collect(of(first, breaker=breaker)))[0] == "one"
    assert breaker.state is State.OPEN


async def test_a_reader_who_leaves_counts_for_nothing() -> None:
    now, first = [0.0], Scripted(AWAY)
    breaker = Breaker("test", failures=1, pause_s=60, clock=lambda: now[0])
    providers = of(first, breaker=breaker, patience=Patience())
    await collect(providers)
    first.script, now[0] = (None,), 60.0
    reader = asyncio.create_task(collect(providers))
    while first.asked < 2:
        await asyncio.sleep(0)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert first.left == 2
    assert breaker.state is State.HALF_OPEN
    first.script = ("one",)
    assert (await collect(providers))[0] == "one"
    assert breaker.state is State.CLOSED


async def test_leaving_the_stream_closes_the_model_at_once() -> None:
    first = Scripted("one", None)
    async with aclosing(of(first).stream(PROMPT)) as pieces:
        assert await anext(pieces) == "one"
    assert first.left == 1


@pytest.mark.parametrize(("others", "waited_s"), [(1, 6.0), (0, 9.5)])
async def test_a_model_leaves_time_to_its_successors(clock: Clock, others: int, waited_s: float) -> None:
    """Of ten seconds, another model gets two fifths, extraction half a second."""
    began = clock.now
    seconds = [Scripted("zwei", provider="second")] * others
    with bound(new_call("acme", 10.0)):
        text, notices, _ = await collect(of(Scripted(None), *seconds, patience=Patience()))
    assert text
    assert "MODEL_TIMEOUT" in notices[0].message
    assert clock.now - began == pytest.approx(waited_s)


async def test_a_caller_in_a_hurry_opens_no_breaker() -> None:
    breaker = Breaker("test", failures=1)
    with bound(new_call("acme", 0.2)):
        await collect(of(Scripted(None), breaker=breaker, patience=Patience()))
    assert breaker.state is State.CLOSED


async def test_a_wait_longer_than_slow_opens_it_though_the_caller_was_in_a_hurry() -> None:
    breaker = Breaker("test", failures=1, slow_s=0.05)
    with bound(new_call("acme", 0.2)):
        await collect(of(Scripted(None), breaker=breaker, patience=Patience()))
    assert breaker.state is State.OPEN


async def test_nobody_is_asked_after_the_deadline() -> None:
    first = Scripted("one")
    with bound(new_call("acme", -1.0)):
        _, _, error = await collect(of(first))
    assert isinstance(error, DeadlineExceeded)
    assert first.asked == 0


async def test_the_time_in_which_the_reader_does_not_take_is_not_counted() -> None:
    async with aclosing(of(Scripted("one", "two", "three")).stream(PROMPT)) as pieces:
        taken = []
        async for piece in pieces:
            taken.append(piece)
            await asyncio.sleep(2 * SHORT.next_token_s)
    assert taken[:3] == ["one", "two", "three"]


def test_an_answer_depends_on_the_one_that_is_asked_first() -> None:
    providers = of(Scripted(), Scripted(provider="second"))
    assert (providers.first, providers.identity) == ("openai", ("openai:m",))
    assert Providers([Provider(ExtractiveChat())], SHORT).identity == ("extractive:extractive",)
