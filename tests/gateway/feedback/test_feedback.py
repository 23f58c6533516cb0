"""Opinions about answers, over a real Redis."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from rag.cli.own_services import free_ports
from rag.runtime.errors import NotFound, Unavailable
from rag.runtime.redis import open_redis
from rag.runtime.tasks import cancel_all
from services.gateway import metrics
from services.gateway.adapters.redis_feedback import TOTALS, RedisFeedback
from services.gateway.feedback import rate
from services.gateway.feedback.answered import Answered
from services.gateway.feedback.feedback import Feedback, Rating, Totals
from tests.waiting import until


@pytest.fixture
async def store(redis: Redis) -> AsyncIterator[RedisFeedback]:
    await redis.delete(TOTALS)
    yield RedisFeedback(redis)
    await redis.delete(TOTALS)


@pytest.fixture
def feedback(store: RedisFeedback) -> Feedback:
    return Feedback(store)


def answered(number: int, *documents: str) -> Answered:
    return Answered(f"ans_{number}", f"Question {number}?", documents)


def thumbs() -> float | None:
    return REGISTRY.get_sample_value("rag_thumbs_up_rate")


async def said(feedback: Feedback, tenant: str, *ratings: Rating) -> None:
    for number, rating in enumerate(ratings):
        await feedback.note(tenant, answered(number))
        await feedback.submit(tenant, f"ans_{number}", rating, f"comment {number}")


async def test_the_last_word_counts(feedback: Feedback, store: RedisFeedback, tenant: str) -> None:
    await said(feedback, tenant, Rating.UP)
    await feedback.submit(tenant, "ans_0", Rating.DOWN, "on second thought")
    [one] = (await feedback.list(tenant, None, 0, "")).opinions
    assert (one.rating, one.comment) == (Rating.DOWN, "on second thought")
    assert (await feedback.list(tenant, Rating.UP, 0, "")).opinions == []
    assert await store.totals() == Totals(0, 1)


async def test_pages_are_newest_first_and_lose_nothing(feedback: Feedback, tenant: str) -> None:
    await said(feedback, tenant, *[Rating.UP, Rating.DOWN] * 5)
    found, token = [], ""
    while True:
        page = await feedback.list(tenant, None, 3, token)
        found += [one.answered.answer_id for one in page.opinions]
        token = page.next_page_token
        if not token:
            break
    assert found == [f"ans_{number}" for number in reversed(range(10))]
    down = await feedback.list(tenant, Rating.DOWN, 2, "")
    assert [one.answered.answer_id for one in down.opinions] == ["ans_9", "ans_7"]


async def test_an_opinion_said_while_pages_are_read_is_not_told_twice(feedback: Feedback, tenant: str) -> None:
    await said(feedback, tenant, *[Rating.UP] * 4)
    first = await feedback.list(tenant, None, 2, "")
    await feedback.submit(tenant, "ans_0", Rating.DOWN, "")
    rest = await feedback.list(tenant, None, 5, first.next_page_token)
    assert [one.answered.answer_id for one in (*first.opinions, *rest.opinions)] == ["ans_3", "ans_2", "ans_1"]


async def test_tenants_are_apart(feedback: Feedback, tenant: str) -> None:
    await said(feedback, tenant, Rating.UP)
    with pytest.raises(NotFound) as foreign:
        await feedback.submit(f"{tenant}-2", "ans_0", Rating.DOWN, "")
    with pytest.raises(NotFound) as unknown:
        await feedback.submit(tenant, "ans_9", Rating.DOWN, "")
    assert foreign.value.reason == unknown.value.reason == "ANSWER_NOT_FOUND"
    assert foreign.value.message == unknown.value.message
    assert (await feedback.list(f"{tenant}-2", None, 0, "")).opinions == []


async def test_answers_and_opinions_are_bounded(redis: Redis, store: RedisFeedback, tenant: str) -> None:
    small = RedisFeedback(redis, most_answers=3, most_opinions=2)
    for number in range(6):
        await small.note(tenant, answered(number))
        assert await small.say(tenant, f"ans_{number}", Rating.UP, "")
    assert len([key async for key in redis.scan_iter(f"rag:{tenant}:answered:*")]) == 3
    assert len([key async for key in redis.scan_iter(f"rag:{tenant}:feedback:*")]) == 2
    assert [one.answered.answer_id for one in await small.newest(tenant, None, None, 9)] == ["ans_5", "ans_4"]
    assert await small.totals() == Totals(2, 0)


async def test_everything_expires(redis: Redis, store: RedisFeedback, tenant: str) -> None:
    await store.note(tenant, answered(1))
    await store.say(tenant, "ans_1", Rating.UP, "")
    keys = [key async for key in redis.scan_iter(f"rag:{tenant}:*")]
    lives = {key.decode().split(":", 2)[2]: await redis.ttl(key) for key in keys}
    assert len(lives) == 5
    assert all(0 < life <= 365 * 86_400 for life in lives.values())
    assert lives["answered:ans_1"] <= 30 * 86_400


async def test_an_answer_whose_time_is_over_may_still_be_spoken_of_again(
    redis: Redis, store: RedisFeedback, tenant: str
) -> None:
    await store.note(tenant, answered(1))
    await store.say(tenant, "ans_1", Rating.UP, "")
    await redis.delete(f"rag:{tenant}:answered:ans_1")
    assert await store.say(tenant, "ans_1", Rating.DOWN, "")
    [one] = await store.newest(tenant, None, None, 9)
    assert (one.rating, one.answered.question) == (Rating.DOWN, "Question 1?")


async def test_many_at_once_each_have_a_moment_of_their_own(store: RedisFeedback, tenant: str) -> None:
    for number in range(30):
        await store.note(tenant, answered(number))
    await asyncio.gather(*(store.say(tenant, f"ans_{number}", Rating.UP, "") for number in range(30)))
    found = await store.newest(tenant, None, None, 99)
    assert len({one.said_ms for one in found}) == 30
    assert await store.totals() == Totals(30, 0)


@given(
    question=st.text(), comment=st.text(max_size=50), documents=st.lists(st.from_regex(r"[a-z]{1,8}", fullmatch=True))
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_text_comes_back(
    store: RedisFeedback, tenant: str, question: str, comment: str, documents: list[str]
) -> None:
    await store.note(tenant, Answered("ans_1", question, tuple(documents)))
    await store.say(tenant, "ans_1", Rating.UP, comment)
    [one] = await store.newest(tenant, None, None, 9)
    assert (one.answered.question, one.comment, one.answered.document_ids) == (question, comment, tuple(documents))


async def test_half_a_character_is_kept_as_a_question_mark(store: RedisFeedback, tenant: str) -> None:
    await store.note(tenant, Answered("ans_1", "a\ud83d", ()))
    assert await store.say(tenant, "ans_1", Rating.UP, "b\ud83d")
    [one] = await store.newest(tenant, None, None, 9)
    assert (one.answered.question, one.comment) == ("a?", "b?")


async def test_an_answer_is_given_even_when_it_cannot_be_noted(tenant: str) -> None:
    [port] = free_ports(1)
    async with open_redis(f"redis://127.0.0.1:{port}") as away:
        feedback = Feedback(RedisFeedback(away))
        await feedback.note(tenant, answered(1))
        with pytest.raises(Unavailable):
            await feedback.submit(tenant, "ans_1", Rating.UP, "")


async def test_all_gateways_tell_the_same_rate(feedback: Feedback, store: RedisFeedback, tenant: str) -> None:
    await said(feedback, tenant, Rating.UP, Rating.UP, Rating.DOWN)
    assert thumbs() == pytest.approx(2 / 3)
    metrics.rate_thumbs(0, 0)
    assert math.isnan(thumbs() or 0)
    following = asyncio.create_task(rate.follow(store))  # as another gateway would
    await until(lambda: thumbs() == pytest.approx(2 / 3))
    await cancel_all([following])


async def test_the_rate_is_followed_when_the_store_was_away() -> None:
    asked: list[float] = []

    class Away:
        async def totals(self) -> Totals:
            if not asked:
                raise Unavailable("Away.", "FEEDBACK_UNAVAILABLE")
            return Totals(1, 3)

    async def sleep(seconds: float) -> None:
        asked.append(seconds)
        await asyncio.sleep(0)

    following = asyncio.create_task(rate.follow(Away(), sleep))
    await until(lambda: thumbs() == 0.25)
    await cancel_all([following])
