from __future__ import annotations

import asyncio

import numpy as np
import pytest

from rag.runtime.errors import Internal, InvalidInput, Overloaded, Unavailable
from services.embedder.batching import Batcher
from services.embedder.model import Bounds
from services.embedder.tickets import Ticket
from tests.embedder.conftest import FakeModel, vector_of

WHOLE = Bounds(tokens=1_000)


def batcher_of(
    model: FakeModel, bounds: Bounds = WHOLE, queue_tokens: int = 10_000, patience_s: float = 0.0
) -> Batcher:
    return Batcher(model, bounds, queue_tokens, patience_s)


async def submit(batcher: Batcher, model: FakeModel, *texts: str) -> Ticket:
    return batcher.submit(await model.prepare(texts))


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
    batcher = Batcher(fake_model, Bounds(tokens=3), 10_000, patience_s=60.0, clock=lambda: 100.0)
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
    texts = ["x " * length for length in (10, 1, 9, 2, 10, 1, 2, 8)]
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
    await (await submit(batcher, fake_model, *["x " * length for length in (10, 1, 1, 1, 1)])).result()
    assert all(sum(len(text.split()) for text in run) <= 12 and len(run) <= 3 for run in fake_model.runs)
    assert len(fake_model.runs) == 2


async def test_a_text_longer_than_the_bound_runs_alone(fake_model):
    batcher = batcher_of(fake_model, Bounds(tokens=4))
    await (await submit(batcher, fake_model, "x " * 10)).result()
    assert len(fake_model.runs) == 1


async def test_a_question_does_not_wait_behind_a_whole_document(fake_model):
    batcher = batcher_of(fake_model, Bounds(tokens=20))
    await busy(fake_model, batcher)
    document = await submit(batcher, fake_model, *[f"{n} " * 10 for n in range(40)])
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


async def test_a_run_that_nobody_waits_for_any_more_is_cancelled(fake_model):
    batcher = batcher_of(fake_model)
    ticket = await busy(fake_model, batcher)
    ticket.leave()
    fake_model.gate.release()
    await (await submit(batcher, fake_model, "next")).result()
    assert fake_model.ended == [["next"]]


async def test_a_full_queue_refuses_newcomers_and_says_when_to_come_back(fake_model):
    batcher = batcher_of(fake_model, queue_tokens=3)
    first = await busy(fake_model, batcher)
    waiting = await submit(batcher, fake_model, "a b c")
    with pytest.raises(Overloaded) as refused:
        await submit(batcher, fake_model, "d")
    assert refused.value.reason == "EMBEDDER_BUSY"
    assert refused.value.retry_after_s > 0
    begun = batcher.submit(await fake_model.prepare(["e"]), begun=True)
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
