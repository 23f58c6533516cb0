"""A reader who leaves stops the model, wherever the answer is, and leaves nothing behind."""

from __future__ import annotations

import asyncio

import pytest

from tests.doubles.fixtures import ModelServer
from tests.generator.leaving import DOORS, STATES, leave_many, mesh, open_files
from tests.generator.making import FakeRetriever
from tests.waiting import until

_READERS = 6


@pytest.mark.parametrize("door", DOORS)
async def test_a_reader_who_leaves_stops_the_model_in_every_state(
    retriever: FakeRetriever, model_server: ModelServer, door: str
) -> None:
    async with mesh(retriever.address, model_server) as at:
        for state in STATES:  # the first round opens what stays open: connections between the services
            await leave_many(at, state, door, 1)
        await until(lambda: _connections(model_server) == 0)
        tasks, files = len(asyncio.all_tasks()), open_files()
        for state in STATES:
            seen = await leave_many(at, state, door, _READERS)
            assert len(seen) == _READERS
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        await until(lambda: open_files() <= files)


def _connections(model: ModelServer) -> int:
    """Return how many answers the model is still giving."""
    return sum(not seen["disconnected"] and not seen["finished"] for seen in model.requests())
