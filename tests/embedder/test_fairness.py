"""Whose turn it is at the model: tenants share it by tokens, and queries come before documents."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from services.embedder.model import Bounds, Piece
from services.embedder.queueing import FairQueue, Flow, Waiting

ONE = Bounds(tokens=1_000, pieces=1)


def piece(tokens: int) -> Piece:
    return Piece("", tokens, False)


def put(queue: FairQueue, flow: Flow, *tokens: int) -> None:
    turn = queue.begin(flow)
    for number, count in enumerate(tokens):
        turn += count
        queue.add(Waiting(f"{flow}{turn}{number}", piece(count), flow, turn, 0.0))
    queue.end(flow, turn)


def taken(queue: FairQueue) -> list[Flow]:
    served: list[Flow] = []
    while len(queue):
        served += [item.flow for item in queue.take_run()]
    return served


def names(served: Sequence[Flow]) -> str:
    return "".join(flow.tenant for flow in served)


def test_many_calls_of_one_tenant_are_one_line_beside_the_single_call_of_another() -> None:
    queue = FairQueue(ONE)
    for _ in range(10):
        put(queue, Flow("a", is_document=True), 10, 10)
    put(queue, Flow("b", is_document=True), 10, 10)
    assert names(taken(queue)[:5]).count("b") == 2


def test_a_tenant_with_long_texts_gets_as_many_tokens_and_not_as_many_texts() -> None:
    queue = FairQueue(ONE)
    put(queue, Flow("a", is_document=True), *[100] * 10)
    put(queue, Flow("b", is_document=True), *[10] * 50)
    served = names(taken(queue))
    assert 35 <= served[:44].count("b") <= 42


def test_queries_come_before_documents_that_came_before_them() -> None:
    queue = FairQueue(ONE)
    put(queue, Flow("a", is_document=True), *[100] * 5)
    put(queue, Flow("a", is_document=False), 10)
    put(queue, Flow("b", is_document=False), 10)
    served = taken(queue)
    assert [flow.is_document for flow in served] == [False, False, *[True] * 5]


def test_documents_are_not_starved_by_queries() -> None:
    queue = FairQueue(ONE)
    put(queue, Flow("a", is_document=True), *[100] * 3)
    put(queue, Flow("b", is_document=False), *[1] * 40)
    served = taken(queue)
    assert [place for place, flow in enumerate(served) if flow.is_document] == [7, 15, 23]


def test_who_comes_back_later_has_no_credit_and_no_debt() -> None:
    queue = FairQueue(ONE)
    put(queue, Flow("a", is_document=False), *[10] * 20)
    taken(queue)
    put(queue, Flow("a", is_document=False), 10, 10)
    put(queue, Flow("b", is_document=False), 10, 10)
    assert sorted(names(taken(queue)[:2])) == ["a", "b"]


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.booleans(), st.lists(st.integers(1, 200), min_size=1, max_size=8)),
        max_size=20,
    )
)
def test_nothing_is_lost_and_no_tenant_falls_behind(calls: list[tuple[str, bool, list[int]]]) -> None:
    queue = FairQueue(ONE)
    waiting: dict[Flow, int] = {}
    for tenant, is_document, tokens in calls:
        flow = Flow(tenant, is_document)
        put(queue, flow, *tokens)
        waiting[flow] = waiting.get(flow, 0) + sum(tokens)
    assert queue.tokens == sum(waiting.values())
    got = dict.fromkeys(waiting, 0)
    while len(queue):
        [item] = queue.take_run()
        got[item.flow] += item.piece.tokens
        # Of those that still wait nobody is more than the longest text behind another.
        behind = [
            got[flow] for flow in waiting if flow.is_document == item.flow.is_document and got[flow] < waiting[flow]
        ]
        assert not behind or got[item.flow] - min(behind) <= 2 * 200
    assert got == waiting
    assert queue.tokens == 0
