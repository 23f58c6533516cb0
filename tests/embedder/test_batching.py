from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from rag.runtime import context
from rag.runtime.errors import DeadlineExceeded, Internal, InvalidInput, Overloaded, Unavailable
from services.embedder import metrics
from services.embedder.batching import Batcher
from services.embedder.caching import Computed, Document
from services.embedder.model import Bounds, Piece
from services.embedder.tickets import Ticket
from tests.embedder.conftest import FakeModel, vector_of
from tests.waiting import until

WHOLE = Bounds(tokens=1_000)


class Kept:
    """Remembers what it is told to keep; `gate` holds it up."""

    def __init__(self) -> None:
        self.computed: list[Computed] = []
        self.gate: asyncio.Semaphore | None = None
        self.error: Exception | None = None

    async def keep(self, computed: Sequence[Computed]) -> None:
        if self.gate is not None:
            await self.gate.acquire()
        if self.error is not None:
            raise self.error
        self.computed += computed

    def texts(self) -> list[str]:
        return [one.key for one in self.computed]


def batcher_of(model: FakeModel, bounds: Bounds = WHOLE, kept: Kept | None = None, **more: Any) -> Batcher:
    given = {"queue_tokens": 10_000, "patience_s": 0.0, "linger_s": 0.1} | more
    return Batcher(model, bounds, (kept or Kept()).keep, **given)


async def submit(batcher: Batcher, model: FakeModel, *texts: str, document: Document | None = None) -> Ticket:
    return batcher.submit(await pieces_of(model, *texts), document)


async def pieces_of(model: FakeModel, *texts: str) -> dict[str, Piece]:
    """A text is its own key."""
    return dict(zip(texts, await model.prepare(texts), strict=True))


async def busy(model: FakeModel, batcher: Batcher) -> Ticket:
    """Starts a run that goes on until the gate is opened."""
    model.gate = asyncio.Semaphore(0)
    ticket = await submit(batcher, model, "busy")
    await model.started.acquire()
    return ticket


async def test_a_lone_text_runs_at_once_whatever_the_patience(fake_model):
    batcher = batcher_of(fake_model, patience_s=3_600)
    for text in ("one", "two"):
        vectors, tokens = await (await submit(batcher, fake_model, text)).result()
        assert np.array_equal(vectors, [vector_of(text)])
        assert tokens == 1
    assert fake_model.runs == [["one"], ["two"]]


async def test_callers_of_the_same_moment_share_a_run(fake_model):
    batcher = batcher_of(fake_model)
    tickets = [await submit(batcher, fake_model, f"text {n}") for n in range(20)]
    for n, ticket in enumerate(tickets):
        vectors, tokens = await ticket.result()
        assert np.array_equal(vectors, [vector_of(f"text {n}")])
        assert tokens == 2
    assert len(fake_model.runs) == 1


async def test_callers_that_come_during_a_run_share_the_next(fake_model):
    batcher = batcher_of(fake_model)
    first = await busy(fake_model, batcher)
    tickets = [await submit(batcher, fake_model, f"text {n}") for n in range(5)]
    fake_model.gate.release()
    fake_model.gate.release()
    await asyncio.gather(first.result(), *(ticket.result() for ticket in tickets))
    assert [len(run) for run in fake_model.runs] == [1, 5]


async def test_after_a_shared_run_a_text_waits_for_company(fake_model):
    batcher = batcher_of(fake_model, Bounds(tokens=3), patience_s=60.0, clock=lambda: 100.0)
    first = [await submit(batcher, fake_model, text) for text in ("a", "b")]
    await asyncio.gather(*(ticket.result() for ticket in first))
    lonely = await submit(batcher, fake_model, "c")
    for _ in range(20):
        await asyncio.sleep(0)
    assert fake_model.runs == [["a", "b"]]
    full = await submit(batcher, fake_model, "d", "e")
    await asyncio.gather(lonely.result(), full.result())
    assert [sorted(run) for run in fake_model.runs] == [["a", "b"], ["c", "d", "e"]]


async def test_runs_are_bounded_by_padded_tokens_and_sorted_by_length(fake_model):
    batcher = batcher_of(fake_model, Bounds(tokens=20))
    texts = [f"{n} " * length for n, length in enumerate((10, 1, 9, 2, 10, 1, 2, 8))]
    ticket = await submit(batcher, fake_model, *texts)
    vectors, _ = await ticket.result()
    assert np.array_equal(vectors, [vector_of(text) for text in texts])
    lengths = [[len(text.split()) for text in run] for run in fake_model.runs]
    assert sorted(length for run in lengths for length in run) == [1, 1, 2, 2, 8, 9, 10, 10]
    for run in lengths:
        assert run == sorted(run)
        assert len(run) * max(run) <= 20
        assert max(run) <= 2 * min(run)


async def test_runs_of_an_endpoint_are_bounded_by_the_sum_of_tokens_and_by_texts(fake_model):
    batcher = batcher_of(fake_model, Bounds(tokens=12, pieces=3, padded=False))
    await (await submit(batcher, fake_model, *[f"{n} " * length for n, length in enumerate((10, 1, 1, 1, 1))])).result()
    assert all(sum(len(text.split()) for text in run) <= 12 and len(run) <= 3 for run in fake_model.runs)
    assert len(fake_model.runs) == 2


async def test_a_text_longer_than_the_bound_runs_alone(fake_model):
    batcher = batcher_of(fake_model, Bounds(tokens=4))
    await (await submit(batcher, fake_model, "x " * 10)).result()
    assert len(fake_model.runs) == 1


async def test_a_question_does_not_wait_behind_a_whole_document(fake_model):
    batcher = batcher_of(fake_model, Bounds(tokens=20))
    await busy(fake_model, batcher)
    texts = [f"{n} " * 10 for n in range(40)]
    document = await submit(batcher, fake_model, *texts, document=Document("t", "d"))
    question = await submit(batcher, fake_model, "what is it")
    for _ in range(4):
        fake_model.gate.release()
    await question.result()
    assert not document.closed
    await batcher.close()


async def test_one_run_at_a_time(fake_model):
    batcher = batcher_of(fake_model, Bounds(tokens=1))
    await busy(fake_model, batcher)
    await submit(batcher, fake_model, "a", "b")
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(fake_model.runs) == 1
    await batcher.close()


async def test_an_endpoint_takes_several_runs_at_once(fake_model):
    batcher = batcher_of(fake_model, Bounds(tokens=1, parallel=3))
    await busy(fake_model, batcher)
    await submit(batcher, fake_model, "a", "b", "c")
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(fake_model.runs) == 3
    await batcher.close()


async def test_a_caller_that_leaves_drops_its_waiting_texts_and_nobody_elses(fake_model):
    batcher = batcher_of(fake_model)
    first = await busy(fake_model, batcher)
    leaving = asyncio.create_task((gone := await submit(batcher, fake_model, "gone")).result())
    staying = await submit(batcher, fake_model, "stays")
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    gone.leave()
    fake_model.gate.release()
    fake_model.gate.release()
    await asyncio.gather(first.result(), staying.result())
    assert fake_model.runs == [["busy"], ["stays"]]


async def test_a_caller_that_leaves_a_shared_run_does_not_end_it(fake_model):
    batcher = batcher_of(fake_model)
    fake_model.gate = asyncio.Semaphore(0)
    leaving, staying = await submit(batcher, fake_model, "a"), await submit(batcher, fake_model, "b")
    await fake_model.started.acquire()
    leaving.leave()
    fake_model.gate.release()
    vectors, _ = await staying.result()
    assert np.array_equal(vectors, [vector_of("b")])


async def test_a_run_that_nobody_waits_for_any_more_goes_on_and_its_vectors_are_kept(fake_model):
    kept = Kept()
    batcher = batcher_of(fake_model, kept=kept, linger_s=60.0)
    ticket = await busy(fake_model, batcher)
    ticket.leave()
    fake_model.gate.release()
    fake_model.gate.release()
    await (await submit(batcher, fake_model, "next")).result()
    assert fake_model.ended == [["busy"], ["next"]]
    assert kept.texts() == ["busy", "next"]
    assert np.array_equal(kept.computed[0].vector, vector_of("busy"))


async def test_a_run_that_hangs_for_nobody_gives_its_place_to_others(fake_model):
    batcher = batcher_of(fake_model, linger_s=0.01)
    (await busy(fake_model, batcher)).leave()
    await until(lambda: not batcher._running)
    fake_model.gate = None
    again = await submit(batcher, fake_model, "busy")
    assert again.joined == 0
    await again.result()


async def test_whoever_joins_a_run_that_was_left_gets_its_vectors(fake_model):
    batcher = batcher_of(fake_model, linger_s=0.01)
    (await busy(fake_model, batcher)).leave()
    joined = await submit(batcher, fake_model, "busy")
    await asyncio.sleep(0.03)
    fake_model.gate.release()
    assert np.array_equal((await joined.result())[0], [vector_of("busy")])
    assert (joined.joined, fake_model.runs) == (1, [["busy"]])


async def test_a_text_on_its_way_is_joined_and_computed_once(fake_model):
    kept, document = Kept(), Document("t", "d")
    batcher = batcher_of(fake_model, kept=kept)
    running = await busy(fake_model, batcher)
    queued = await submit(batcher, fake_model, "a", "b b")
    both = await submit(batcher, fake_model, "b b", "busy", "c", document=document)
    for _ in range(2):
        fake_model.gate.release()
    assert np.array_equal((await both.result())[0], [vector_of(text) for text in ("b b", "busy", "c")])
    assert [(await ticket.result())[1] for ticket in (running, queued, both)] == [1, 3, 1]
    assert (queued.joined, both.joined) == (0, 2)
    assert sorted(text for run in fake_model.runs for text in run) == ["a", "b b", "busy", "c"]
    assert {one.key: set(one.asked_by) for one in kept.computed} == {
        "a": {None}, "b b": {None, document}, "busy": {None, document}, "c": {document},
    }  # fmt: skip


async def test_a_text_is_joined_until_its_vector_is_kept(fake_model):
    kept = Kept()
    kept.gate = asyncio.Semaphore(0)
    batcher = batcher_of(fake_model, kept=kept)
    first = await submit(batcher, fake_model, "a")
    await until(lambda: fake_model.ended)
    second = await submit(batcher, fake_model, "a")
    kept.gate.release()
    await asyncio.gather(first.result(), second.result())
    assert fake_model.runs == [["a"]]


async def test_the_model_does_not_wait_for_the_keeping(fake_model):
    kept = Kept()
    kept.gate = asyncio.Semaphore(0)
    batcher = batcher_of(fake_model, kept=kept)
    tickets = []
    for text in ("a", "b"):
        tickets.append(await submit(batcher, fake_model, text))
        await until(lambda text=text: [text] in fake_model.ended)
    kept.gate.release()
    kept.gate.release()
    await asyncio.gather(*(ticket.result() for ticket in tickets))


async def test_what_cannot_be_kept_is_an_error_of_ours(fake_model):
    kept = Kept()
    kept.error = ValueError("x")
    with pytest.raises(Internal):
        await (await submit(batcher_of(fake_model, kept=kept), fake_model, "a")).result()


async def test_a_question_that_joins_a_text_of_a_document_does_not_wait_behind_it(fake_model):
    batcher = batcher_of(fake_model, Bounds(tokens=10))
    await busy(fake_model, batcher)
    texts = [f"{n} " * 10 for n in range(40)]
    await submit(batcher, fake_model, *texts, document=Document("t", "d"))
    question = await submit(batcher, fake_model, texts[-1])
    for _ in range(3):
        fake_model.gate.release()
    await question.result()
    assert len(fake_model.ended) <= 3
    await batcher.close()


async def test_a_caller_that_leaves_does_not_take_a_joined_text_along(fake_model):
    batcher = batcher_of(fake_model)
    await busy(fake_model, batcher)
    leaving, staying = await submit(batcher, fake_model, "a"), await submit(batcher, fake_model, "a")
    leaving.leave()
    await asyncio.sleep(0)
    for _ in range(2):
        fake_model.gate.release()
    assert np.array_equal((await staying.result())[0], [vector_of("a")])


async def test_a_run_has_the_longest_deadline_of_its_callers_and_not_their_names(fake_model):
    seen = []

    class Looking(FakeModel):
        async def encode(self, pieces):
            seen.append(context.current())
            return await super().encode(pieces)

    model = Looking()
    batcher, now = batcher_of(model), time.monotonic()
    tickets = []
    for seconds in (50, 30):
        with context.bound(context.CallContext("r", "t", now + seconds)):
            tickets.append(await submit(batcher, model, f"{seconds}"))
    await asyncio.gather(*(ticket.result() for ticket in tickets))
    assert seen[0].deadline == pytest.approx(now + 50, abs=1)
    assert (seen[0].tenant, seen[0].request_id[:4]) == ("embedder", "run_")


async def test_a_caller_without_time_starts_nothing(fake_model):
    with (
        context.bound(context.CallContext("r", "t", time.monotonic() - 1)),
        pytest.raises(DeadlineExceeded),
    ):
        await submit(batcher_of(fake_model), fake_model, "a")


async def test_a_full_queue_refuses_newcomers_and_says_when_to_come_back(fake_model):
    batcher = batcher_of(fake_model, queue_tokens=3)
    first = await busy(fake_model, batcher)
    waiting = await submit(batcher, fake_model, "a b c")
    with pytest.raises(Overloaded) as refused:
        await submit(batcher, fake_model, "d")
    assert refused.value.reason == "EMBEDDER_BUSY"
    assert refused.value.retry_after_s > 0
    begun = batcher.submit(await pieces_of(fake_model, "e"), begun=True)
    for _ in range(3):
        fake_model.gate.release()
    await asyncio.gather(first.result(), waiting.result(), begun.result())


async def test_the_queue_has_room_again_when_a_caller_leaves(fake_model):
    batcher = batcher_of(fake_model, queue_tokens=3)
    await busy(fake_model, batcher)
    (await submit(batcher, fake_model, "a b c")).leave()
    await asyncio.sleep(0)  # its leaving is heard in the loop's next round
    ticket = await submit(batcher, fake_model, "d")
    fake_model.gate.release()
    fake_model.gate.release()
    await ticket.result()


@pytest.mark.parametrize(
    ("raised", "reason"), [(Unavailable("Away.", "AWAY"), "AWAY"), (ValueError("x"), "MODEL_FAILED")]
)
async def test_an_error_of_the_model_reaches_the_callers_of_that_run_only(fake_model, raised, reason):
    batcher = batcher_of(fake_model)
    fake_model.gate = asyncio.Semaphore(0)
    failing = [await submit(batcher, fake_model, text) for text in ("a", "b")]
    await fake_model.started.acquire()
    fine = await submit(batcher, fake_model, "c")
    fake_model.error = raised
    fake_model.gate.release()
    for ticket in failing:
        with pytest.raises((Unavailable, Internal)) as error:
            await ticket.result()
        assert error.value.reason == reason
    fake_model.error = None
    fake_model.gate.release()
    await fine.result()


async def test_one_callers_bad_text_does_not_fail_the_others_of_the_run(fake_model):
    batcher = batcher_of(fake_model)
    fake_model.bad_text = "bad"
    fine, bad = await submit(batcher, fake_model, "a", "b"), await submit(batcher, fake_model, "bad")
    vectors, _ = await fine.result()
    assert len(vectors) == 2
    with pytest.raises(InvalidInput):
        await bad.result()


async def test_a_run_refused_as_too_large_is_halved_until_it_fits(fake_model):
    fake_model.most_texts = 3
    batcher = batcher_of(fake_model)
    texts = [f"text {n}" for n in range(20)]
    vectors, tokens = await (await submit(batcher, fake_model, *texts)).result()
    assert np.array_equal(vectors, [vector_of(text) for text in texts])
    assert tokens == 40
    assert sorted(text for run in fake_model.ended for text in run) == sorted(texts)


async def test_one_bad_text_fails_alone_and_the_others_of_its_call_are_kept(fake_model):
    kept = Kept()
    fake_model.bad_text = "text 5"
    ticket = await submit(batcher_of(fake_model, kept=kept), fake_model, *[f"text {n}" for n in range(8)])
    with pytest.raises(InvalidInput):
        await ticket.result()
    await until(lambda: len(kept.computed) == 7)
    assert "text 5" not in kept.texts()


async def test_after_an_error_the_rest_of_the_call_does_not_run(fake_model):
    fake_model.error = Overloaded("Too much.", "MODEL_RATE_LIMITED", 7.0)
    batcher = batcher_of(fake_model, Bounds(tokens=2))
    ticket = await submit(batcher, fake_model, *[f"text {n}" for n in range(5)])
    with pytest.raises(Overloaded) as error:
        await ticket.result()
    assert error.value.retry_after_s == 7.0
    fake_model.error = None
    await (await submit(batcher, fake_model, "next")).result()
    assert [len(run) for run in fake_model.runs] == [1, 1]


async def test_the_time_with_a_run_is_counted_once_however_many_there_are(fake_model):
    now = 0.0
    batcher = batcher_of(fake_model, Bounds(tokens=1, parallel=2), clock=lambda: now)
    before = metrics.BUSY_SECONDS._value.get()
    await busy(fake_model, batcher)
    now = 2.0
    await submit(batcher, fake_model, "a")
    await fake_model.started.acquire()
    now = 5.0
    for _ in range(2):
        fake_model.gate.release()
    await until(lambda: not batcher._running)
    now = 100.0
    await (await submit_now(batcher, fake_model, "b")).result()
    assert metrics.BUSY_SECONDS._value.get() - before == 5.0


async def submit_now(batcher: Batcher, model: FakeModel, text: str) -> Ticket:
    model.gate = None
    return await submit(batcher, model, text)


async def test_closing_lets_a_run_end_and_keeps_its_vectors(fake_model):
    kept = Kept()
    batcher = batcher_of(fake_model, kept=kept, linger_s=60.0)
    running = await busy(fake_model, batcher)
    closing = asyncio.create_task(batcher.close())
    with pytest.raises(Unavailable):
        await running.result()
    fake_model.gate.release()
    await closing
    assert kept.texts() == ["busy"]


async def test_closing_tells_whoever_waits(fake_model):
    batcher = batcher_of(fake_model)
    running = await busy(fake_model, batcher)
    waiting = await submit(batcher, fake_model, "a")
    await batcher.close()
    for ticket in (running, waiting):
        with pytest.raises(Unavailable):
            await ticket.result()
    with pytest.raises(Unavailable):
        await submit(batcher, fake_model, "b")
