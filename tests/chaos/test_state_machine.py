"""Uploads, updates, cancels, retries and deletes in any order, with crashes between: what is there in the end is what a small model says."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from rag.ids import new_id
from rag.v1 import ingestor_pb2 as pb
from tests.chaos.client import Client, client_of, persistently
from tests.chaos.expected import DOCUMENTS, PASSWORD, Ending, Made, Model
from tests.chaos.mesh import SMALL_BATCHES, Mesh, embedded_by, running_mesh
from tests.doubles.fixtures import ModelServer

KINDS = ("text", "text", "text", "text", "locked", "blank")
ACTS = (
    *["submit"] * 6, *["send_again"] * 2, *["repeat"] * 2, *["cancel"] * 4, *["retry"] * 4, *["see_its_end"] * 4, *["delete"] * 2,
    "crash", "submit_through_a_crash",
)  # fmt: skip
"""What hypothesis draws from, common things more often: of rules of their own it leaves many out of a run."""
RECENT = 4
MODEL_DELAY_MS = 80
"""Long enough for the next step to find jobs at work."""
# A failing run is told as it was: making it smaller would take as long again for each try.
RUNS = settings(
    max_examples=4,
    stateful_step_count=40,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    database=None,
)

documents = st.sampled_from(DOCUMENTS)
picks = st.integers(0, 1_000)
parts = st.integers(1, 24)


@pytest.fixture
def mesh(model_server: ModelServer) -> Iterator[Mesh]:
    with tempfile.TemporaryDirectory(prefix="rag") as folder:
        environment = {
            **embedded_by(model_server),
            **SMALL_BATCHES,
            "INGESTOR_MAX_ATTEMPTS": "100",
        }
        with running_mesh(Path(folder), **environment) as mesh:
            yield mesh


class Users(RuleBasedStateMachine):
    """What the users of one tenant do, and the crashes that they do not see."""

    def __init__(self, mesh: Mesh) -> None:
        super().__init__()
        self.mesh = mesh
        self.model = Model()
        self.is_broken = False
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        entering = self.stack.enter_async_context(client_of(mesh, new_id("tenant")))
        self.client: Client = self.runner.run(entering)

    def run(self, step: Coroutine[Any, Any, None]) -> None:
        try:
            self.runner.run(step)
        except BaseException:
            self.is_broken = True
            raise

    def teardown(self) -> None:
        try:
            if not self.is_broken:
                self.run(Ending(self.mesh, self.client, self.model).check())
        finally:
            self.runner.run(self.stack.aclose())
            self.runner.close()

    @rule(act=st.sampled_from(ACTS), document=documents, pick=picks, size=parts)
    def step(self, act: str, document: str, pick: int, size: int) -> None:
        if act.startswith("submit"):
            kind = "text" if act == "submit_through_a_crash" else KINDS[pick % len(KINDS)]
            self.run(getattr(self, act)(self.model.next(document, kind, size)))
        elif act == "delete":
            self.run(self.delete(document))
        elif act == "crash":
            self._crash()
        elif self.model.uploads:
            recent = self.model.uploads[-RECENT:]
            self.run(getattr(self, act)(recent[pick % len(recent)]))

    async def submit(self, one: Made) -> None:
        self.model.accept(one, (await self.client.submit(one.content, one.document, one.request)).id)

    async def submit_through_a_crash(self, one: Made) -> None:
        submitting = asyncio.create_task(self.submit(one))
        try:
            await asyncio.to_thread(self._crash)
        finally:
            await submitting

    async def send_again(self, one: Made) -> None:
        """The same content in a new request; a password belongs to its job, and is not sent."""
        fails = one.fails or one.is_locked
        await self.submit(Made(one.document, one.content, new_id("request"), one.generation, fails, one.is_locked))

    async def repeat(self, one: Made) -> None:
        assert (await self.client.submit(one.content, one.document, one.request)).id == one.job_id
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await self.client.submit(b"Another text.", one.document, one.request)
        assert refused.value.code() == grpc.StatusCode.ALREADY_EXISTS

    async def cancel(self, one: Made) -> None:
        request = pb.CancelJobRequest(job_id=one.job_id)
        answer = await self._unless_refused(lambda: self.client.ingestor.CancelJob(request, **self._how))
        assert answer is not None or not one.is_cancelled
        one.is_cancelled = answer is not None

    async def retry(self, one: Made) -> None:
        request = pb.RetryJobRequest(job_id=one.job_id, password=PASSWORD if one.is_locked else "")
        answer = await self._unless_refused(lambda: self.client.ingestor.RetryJob(request, **self._how))
        if answer is not None:
            assert not one.is_cancelled
            assert one.fails or one.is_locked
            one.fails = not one.is_locked

    async def see_its_end(self, one: Made) -> None:
        assert (await self.client.ended(one.job_id)).state == pb.JOB_STATE_CANCELLED or not one.is_cancelled

    async def delete(self, document: str) -> None:
        await self.client.delete(document)
        self.model.forget(document)
        assert await self.client.document(document) is None

    def _crash(self) -> None:
        self.mesh.kill("ingestor")
        self.mesh.start("ingestor")

    async def _unless_refused(self, ask: Callable[[], Any]) -> Any:
        try:
            return await persistently(ask)
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.FAILED_PRECONDITION:
                raise
            return None

    @property
    def _how(self) -> dict[str, Any]:
        return {"metadata": self.client.metadata, "timeout": 10}


def test_what_is_there_in_the_end_is_what_the_users_were_told(mesh: Mesh, model_server: ModelServer) -> None:
    model_server.script(path="embeddings", first_delay_ms=MODEL_DELAY_MS, times=None)
    run_state_machine_as_test(lambda: Users(mesh), settings=RUNS)
