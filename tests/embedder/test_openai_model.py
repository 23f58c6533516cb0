from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx2
import numpy as np
import pytest
from openai import AsyncOpenAI

from rag.runtime.context import CallContext, bound
from rag.runtime.errors import FailedPrecondition, Internal, InvalidInput, Overloaded, RagError, Unavailable
from services.embedder.adapters.openai_model import Cooldown, OpenaiModel, OpenaiOptions
from services.embedder.batching import Batcher
from services.embedder.caching import Computed
from services.embedder.model import Bounds, Encoded
from tests.doubles.fixtures import ModelServer
from tests.waiting import until

DEFAULTS = {
    "model": "double-1",
    "revision": "7",
    "dimension": 0,
    "ask_dimension": False,
    "max_input_tokens": 10,
    "timeout_s": 20.0,
    "retries": 0,
}


class FakeCooldown:
    """A cooldown that does not pass by itself."""

    def __init__(self) -> None:
        self.left = 0.0

    async def left_s(self) -> float:
        return self.left

    async def begin(self, seconds: float) -> None:
        self.left = max(self.left, seconds)


@pytest.fixture
async def client(model_server: ModelServer) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(api_key="k", base_url=model_server.base_url, max_retries=0) as client:
        yield client


def model_of(client: AsyncOpenAI, cooldown: Cooldown | None = None, unit: float = 0.0, **changes: Any) -> OpenaiModel:
    return OpenaiModel(client, OpenaiOptions(**DEFAULTS | changes), cooldown or FakeCooldown(), lambda: unit)


async def embed(model: OpenaiModel, *texts: str) -> Encoded:
    return await model.encode(await model.prepare(texts))


async def test_vectors_come_in_order_as_base64_of_length_one(client, model_server):
    encoded = await embed(model_of(client), "one", "two words", "one")
    assert encoded.vectors.shape == (3, 384)
    assert encoded.vectors.dtype == np.float32
    assert np.linalg.norm(encoded.vectors, axis=1) == pytest.approx(1, abs=1e-6)
    assert np.array_equal(encoded.vectors[0], encoded.vectors[2])
    assert not np.array_equal(encoded.vectors[0], encoded.vectors[1])
    assert encoded.tokens == 4
    (request,) = model_server.requests()
    assert request["body"] == {"model": "double-1", "input": ["one", "two words", "one"], "encoding_format": "base64"}
    assert request["headers"]["authorization"] == "Bearer k"


async def test_the_dimension_is_learned_once(client, model_server):
    model = model_of(client)
    for _ in range(2):
        info = await model.describe()
    assert (info.name, info.revision, info.dimension, info.max_input_tokens) == ("double-1", "7", 384, 10)
    assert info.provider == "openai"
    assert len(model_server.requests()) == 1


async def test_the_dimension_is_learned_once_by_callers_of_the_same_moment(client, model_server):
    model = model_of(client)
    await asyncio.gather(*(model.describe() for _ in range(5)))
    assert len(model_server.requests()) == 1


async def test_a_given_dimension_needs_no_call_and_can_be_asked_for(client, model_server):
    model = model_of(client, dimension=64, ask_dimension=True)
    assert (await model.describe()).dimension == 64
    assert (await embed(model, "a")).vectors.shape == (1, 64)
    assert [request["body"]["dimensions"] for request in model_server.requests()] == [64]


async def test_long_texts_are_cut_inside_no_character(client):
    texts = ["a" * 30, "a" * 31, "é" * 16, " " * 40 + "b" * 31, "語"]
    pieces = await model_of(client).prepare(texts)
    assert [piece.content for piece in pieces] == ["a" * 30, "a" * 30, "é" * 15, "b" * 30, "語"]
    assert [piece.truncated for piece in pieces] == [False, True, True, True, False]
    assert [piece.tokens for piece in pieces] == [10, 10, 10, 10, 1]


@pytest.mark.parametrize(
    "behaviour",
    [{"nan": True}, {"dimension": 383}, {"count": 1}, {"count": 3}, {"count": 0}, {"malformed": True}],
    ids=["nan", "wrong dimension", "too few", "too many", "none", "broken json"],
)
async def test_an_answer_that_is_not_vectors_is_refused(client, model_server, behaviour):
    model_server.script(**behaviour)
    with pytest.raises(Internal) as error:
        await embed(model_of(client, dimension=384), "a", "b")
    assert error.value.reason == "EMBEDDING_INVALID"


@pytest.mark.parametrize(
    ("behaviour", "kind", "reason"),
    [
        ({"status": 401}, FailedPrecondition, "MODEL_KEY_REFUSED"),
        ({"status": 403}, FailedPrecondition, "MODEL_KEY_REFUSED"),
        ({"status": 404}, FailedPrecondition, "MODEL_NOT_FOUND"),
        ({"status": 400, "error_code": "context_length_exceeded"}, InvalidInput, "TEXT_TOO_LONG"),
        ({"status": 413}, InvalidInput, "TEXT_TOO_LONG"),
        ({"status": 400}, FailedPrecondition, "MODEL_REFUSED"),
        ({"status": 429}, Overloaded, "MODEL_RATE_LIMITED"),
        ({"status": 500}, Unavailable, "MODEL_UNAVAILABLE"),
        ({"status": 503}, Unavailable, "MODEL_UNAVAILABLE"),
    ],
)
async def test_each_refusal_has_its_own_error(client, model_server, behaviour, kind, reason):
    model_server.script(**behaviour)
    with pytest.raises(RagError) as error:
        await embed(model_of(client), "a")
    assert (type(error.value), error.value.reason) == (kind, reason)
    assert "scripted" not in error.value.message


@pytest.mark.parametrize("status", [429, 503])
async def test_the_endpoints_pause_is_passed_on_with_a_little_more(client, model_server, status):
    model_server.script(status=status, retry_after="7")
    with pytest.raises(Overloaded) as error:
        await embed(model_of(client, unit=1.0), "a")
    assert error.value.reason == "MODEL_RATE_LIMITED"
    assert error.value.retry_after_s == pytest.approx(7.8)


async def test_while_a_cooldown_lasts_nothing_is_sent(client, model_server):
    cooldown = FakeCooldown()
    models = [model_of(client, cooldown, retries=3) for _ in range(2)]
    model_server.script(status=429, retry_after="7")
    for model in models:
        with pytest.raises(Overloaded) as error:
            await embed(model, "a")
        assert error.value.retry_after_s == 7
    assert len(model_server.requests()) == 1
    cooldown.left = 0.0
    assert (await embed(models[1], "a")).vectors.shape == (1, 384)


@pytest.mark.parametrize("status", [500, 502, 408, 409])
async def test_failures_that_may_pass_are_tried_again_so_often(client, model_server, status):
    model_server.script(status=status, times=2)
    assert (await embed(model_of(client, retries=2), "a")).vectors.shape == (1, 384)
    assert len(model_server.requests()) == 3
    model_server.script(status=status, times=None)
    with pytest.raises(Unavailable):
        await embed(model_of(client, retries=2), "a")
    assert len(model_server.requests()) == 6


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422])
async def test_refusals_are_not_tried_again(client, model_server, status):
    model_server.script(status=status, times=None)
    with pytest.raises(RagError):
        await embed(model_of(client, retries=5), "a")
    assert len(model_server.requests()) == 1


async def test_no_failure_is_tried_again_beyond_the_deadline_of_the_call(client, model_server):
    model_server.script(status=500, times=None)
    model = model_of(client, unit=1.0, retries=10)
    with bound(CallContext("r", "t", time.monotonic() + 0.2)), pytest.raises(Unavailable):
        await embed(model, "a")
    assert len(model_server.requests()) == 1


async def test_a_batch_that_is_too_large_is_split_until_it_fits_and_nothing_is_computed_twice(client, model_server):
    model_server.script(path="embeddings", most_texts=3, times=None)
    model = model_of(client, dimension=384)
    kept: list[Computed] = []

    async def keep(computed: Sequence[Computed]) -> None:
        kept.extend(computed)

    batcher = Batcher(model, Bounds(1_000, padded=False), keep, queue_tokens=1_000, patience_s=0.0)
    texts = [f"text {n}" for n in range(10)]
    ticket = batcher.submit(dict(zip(texts, await model.prepare(texts), strict=True)))
    assert (await ticket.result())[0].shape == (10, 384)
    assert model_server.counts() == dict.fromkeys(texts, 1)
    assert sorted(one.key for one in kept) == texts
    model_server.reset()
    model_server.script(path="embeddings", most_tokens=2, times=None)
    ticket = batcher.submit(dict(zip(["a b c", "d"], await model.prepare(["a b c", "d"]), strict=True)))
    with pytest.raises(InvalidInput) as error:
        await ticket.result()
    assert error.value.reason == "TEXT_TOO_LONG"
    await until(lambda: kept[-1].key == "d")
    await batcher.close()


async def test_a_hanging_endpoint_is_unavailable_when_the_time_is_over(client, model_server):
    model_server.script(hang=True)
    with pytest.raises(Unavailable) as error:
        await embed(model_of(client, timeout_s=0.2), "a")
    assert error.value.reason == "MODEL_UNAVAILABLE"


async def test_all_attempts_together_end_in_time(client, model_server):
    model_server.script(status=500, times=None)
    with pytest.raises(Unavailable):
        await embed(model_of(client, unit=1.0, retries=10, timeout_s=0.5), "a")


async def test_no_endpoint_is_unavailable():
    async with AsyncOpenAI(api_key="k", base_url="http://127.0.0.1:1/v1", max_retries=0) as client:
        with pytest.raises(Unavailable):
            await embed(model_of(client), "a")


async def test_a_cancelled_run_hangs_up(client, model_server):
    model_server.script(hang=True)
    run = asyncio.create_task(embed(model_of(client), "a"))
    await model_server.wait_received()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    await model_server.wait_disconnect()


@pytest.fixture
async def answering() -> AsyncIterator[Any]:
    """A client whose endpoint gives a fixed body: shapes of answers that the double has no script for."""
    clients = []

    def client_for(data: list[dict[str, Any]]) -> AsyncOpenAI:
        body = {"object": "list", "model": "m", "data": data}
        transport = httpx2.MockTransport(lambda _: httpx2.Response(200, json=body))
        client = AsyncOpenAI(
            api_key="k", base_url="http://x/v1", max_retries=0, http_client=httpx2.AsyncClient(transport=transport)
        )
        clients.append(client)
        return client

    yield client_for
    for client in clients:
        await client.close()


async def test_lists_in_any_order_are_accepted_and_made_of_length_one(answering):
    data = [{"index": 1, "embedding": [0.0, 3.0]}, {"index": 0, "embedding": [2, 0]}]
    encoded = await embed(model_of(answering(data)), "a", "bcdefg")
    assert encoded.vectors.tolist() == [[1, 0], [0, 1]]
    assert encoded.tokens == 3


@pytest.mark.parametrize(
    "data",
    [
        [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 2, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}],
        [{"index": 0, "embedding": [0.0]}, {"index": 1, "embedding": [1.0]}],
        [{"index": 0, "embedding": "AAA"}, {"index": 1, "embedding": "!"}],
        [{"index": 0, "embedding": None}, {"index": 1, "embedding": {"a": 1}}],
        [{"index": 0, "embedding": []}, {"index": 1, "embedding": []}],
        [{"index": 0, "embedding": [[1.0]]}, {"index": 1, "embedding": [[1.0]]}],
        [{"index": 0}, {"index": 1}],
        None,
    ],
    ids=[
        "same index",
        "wrong index",
        "ragged",
        "zero",
        "bad base64",
        "no numbers",
        "empty",
        "nested",
        "missing",
        "null",
    ],
)
async def test_odd_answers_are_refused(answering, data):
    with pytest.raises(Internal) as error:
        await embed(model_of(answering(data)), "a", "b")
    assert error.value.reason == "EMBEDDING_INVALID"
