"""The vectors of jobs that were called off are forgotten once, by whoever is there."""

from __future__ import annotations

import time

import pytest

from services.ingestor.adapters.redis_leftovers import LEFTOVERS, RedisLeftovers
from tests.ingestor.pdfs import pdf
from tests.waiting import until


@pytest.fixture
def now() -> list[float]:
    return [1_000.0]


@pytest.fixture
def leftovers(empty_queue, now) -> RedisLeftovers:
    return RedisLeftovers(empty_queue, clock=lambda: now[0])


async def test_a_document_is_due_once_until_it_is_done(leftovers, tenant, empty_queue):
    await leftovers.add(tenant, "doc")
    leftover = await leftovers.due()
    assert (leftover.tenant, leftover.document_id, leftover.busy) == (tenant, "doc", False)
    assert await leftovers.due() is None
    await leftovers.done(leftover)
    assert not await empty_queue.exists(LEFTOVERS)


async def test_what_was_given_to_somebody_who_died_is_due_again(leftovers, tenant, now):
    await leftovers.add(tenant, "doc")
    first = await leftovers.due()
    now[0] += 11
    second = await leftovers.due()
    assert second.document_id == "doc"
    await leftovers.done(first)
    assert await leftovers.due() is None
    now[0] += 11
    assert await leftovers.due()


async def test_what_is_noted_anew_meanwhile_is_not_dropped(leftovers, tenant):
    await leftovers.add(tenant, "doc")
    leftover = await leftovers.due()
    await leftovers.add(tenant, "doc")
    await leftovers.done(leftover)
    assert (await leftovers.due()).document_id == "doc"


async def test_a_document_whose_next_upload_is_at_work_keeps_its_vectors_for_it(mesh, client, empty_queue):
    mesh.embedder.open.clear()
    await client.submit(pdf(pages=2), "a.pdf", document_id="doc")
    await until(lambda: mesh.embedder.calls)
    # Noted for later: the ingestor that runs here must not take it.
    leftovers = RedisLeftovers(empty_queue, clock=lambda: time.time() + 60)
    await leftovers.add(mesh.tenant, "doc")
    assert (await leftovers.due()).busy
    assert mesh.embedder.forgotten == []
