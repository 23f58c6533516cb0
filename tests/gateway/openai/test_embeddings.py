"""The official clients embed texts and list models."""

from __future__ import annotations

import asyncio
import base64

import numpy as np
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.runtime.errors import InvalidInput, PermissionDenied, Unavailable
from rag.v1 import embedder_pb2 as pb
from services.gateway.http.openai import embeddings
from tests.gateway.stage import HOLD

VECTORS = np.random.default_rng(7).standard_normal((5, 3)).astype("<f4")

REFUSED = [
    ({"dimensions": 2}, "dimensions", "unsupported_value"),
    ({"input": [1, 2]}, "input", "invalid"),
    ({"input": [[1, 2]]}, "input", "invalid"),
    ({"input": {"text": "a"}}, "input", "invalid"),
    ({"input": [None]}, "input[0]", "invalid"),
    ({"encoding_format": "int8"}, "encoding_format", "invalid"),
]


def batch(offset: int, vectors: np.ndarray, **changes: object) -> pb.EmbedResponse:
    usage = pb.EmbedUsage(tokens=10 * len(vectors), computed=len(vectors), truncated=1)
    fields = {"offset": offset, "count": len(vectors), "dimension": vectors.shape[1], "model": "m", "revision": "r"}
    return pb.EmbedResponse(values=vectors.tobytes(), usage=usage, **{**fields, **changes})


@pytest.fixture
def embedder(gateway):
    stage = gateway.backends.embedder.stage
    stage.script = [batch(0, VECTORS[:2]), batch(2, VECTORS[2:])]
    return stage


@pytest.mark.parametrize("encoding", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}])
@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_texts_become_vectors_in_their_order(embedder, client, sync_client, encoding, kind):
    asked = {"model": "m", "input": list("abcde"), **encoding}
    if kind == "async":
        answer = await client.embeddings.create(**asked)
    else:
        answer = await asyncio.to_thread(sync_client.embeddings.create, **asked)

    assert (answer.object, answer.model, [one.index for one in answer.data]) == ("list", "m", list(range(5)))
    assert np.array_equal(np.array([_numbers(one.embedding) for one in answer.data], "<f4"), VECTORS)
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (50, 50)
    assert answer.rag == {
        "revision": "r",
        "tokens": 50,
        "from_memory": 0,
        "from_redis": 0,
        "computed": 5,
        "truncated": 2,
    }
    assert list(embedder.requests[-1].texts) == list("abcde")


async def test_one_text_is_a_list_of_one_and_its_own_dimension_may_be_asked_for(gateway, client):
    answer = await client.embeddings.create(model="m", input="a", dimensions=1)

    assert [one.embedding for one in answer.data] == [[1.0]]
    assert list(gateway.backends.embedder.stage.requests[-1].texts) == ["a"]


async def test_what_cannot_be_done_is_refused_by_name_and_nothing_is_computed(gateway, client):
    for asked, param, code in REFUSED:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.embeddings.create(**{"model": "m", "input": "a", **asked})
        assert (caught.value.param, caught.value.code) == (param, code)
    assert not any(isinstance(one, pb.EmbedRequest) for one in gateway.backends.embedder.stage.requests)


@pytest.mark.parametrize(
    ("reason", "code"), [("EMPTY_TEXT", "empty_text"), ("TEXTS_TOO_LARGE", "context_length_exceeded")]
)
async def test_what_the_embedder_refuses_is_a_bad_request(embedder, client, reason, code):
    embedder.script = [InvalidInput("Text 0 is wrong.", reason)]
    with pytest.raises(openai.BadRequestError, match=r"Text 0 is wrong\.") as caught:
        await client.embeddings.create(model="m", input=[""])
    assert (caught.value.param, caught.value.code) == ("input", code)


async def test_another_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError, match="`m`") as caught:
        await client.embeddings.create(model="text-embedding-3-small", input="a")
    assert (caught.value.param, caught.value.code) == ("model", "model_not_found")


async def test_a_model_that_was_replaced_is_asked_for_again(embedder, client):
    await client.embeddings.create(model="m", input=list("abcde"))
    embedder.script = [batch(0, VECTORS, model="new")]
    for _ in range(2):
        with pytest.raises(openai.InternalServerError) as caught:
            await client.embeddings.create(model="m", input=list("abcde"))
        assert (caught.value.status_code, caught.value.code) == (503, "model_replaced")
    assert sum(isinstance(one, pb.GetModelRequest) for one in embedder.requests) == 2


@pytest.mark.parametrize(
    "script",
    [
        [batch(0, VECTORS[:2])],
        [batch(0, VECTORS[:2]), batch(3, VECTORS[3:])],
        [batch(0, VECTORS, count=4)],
        [batch(0, VECTORS), batch(5, VECTORS)],
    ],
    ids=["too few", "a gap", "a wrong count", "too many"],
)
async def test_vectors_that_do_not_fit_the_texts_are_not_passed_on(embedder, client, script):
    embedder.script = script
    with pytest.raises(openai.InternalServerError) as caught:
        await client.embeddings.create(model="m", input=list("abcde"))
    assert caught.value.code == "bad_embedding"


async def test_a_client_who_gives_up_stops_the_embedder(embedder, client):
    embedder.script = [HOLD]
    asking = asyncio.create_task(client.embeddings.create(model="m", input="a"))
    await asyncio.wait_for(embedder.entered.wait(), 20)
    while not any(isinstance(one, pb.EmbedRequest) for one in embedder.requests):
        embedder.entered.clear()
        await asyncio.wait_for(embedder.entered.wait(), 20)
    asking.cancel()
    await asyncio.wait({asking})

    await asyncio.wait_for(embedder.cancelled.wait(), 20)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=4, max_size=4))
def test_base64_and_floats_are_the_same_numbers(numbers):
    one = batch(0, np.array(numbers, "<f4").reshape(2, 2))
    floats, raw = [_data(embeddings._members(one, as_base64=as_base64)) for as_base64 in (False, True)]

    assert [entry["index"] for entry in floats] == [entry["index"] for entry in raw] == [0, 1]
    decoded = b"".join(base64.b64decode(entry["embedding"]) for entry in raw)
    assert decoded == one.values
    assert np.array([entry["embedding"] for entry in floats], "<f4").tobytes() == one.values


async def test_the_models_are_the_ways_to_search_and_the_embedding_model(client, sync_client):
    listed = (await client.models.list()).data
    assert [one.id for one in listed] == ["ragmesh", "ragmesh-dense", "ragmesh-keyword", "m"]
    assert {(one.object, one.owned_by) for one in listed} == {("model", "ragmesh")}
    assert [one.id for one in await asyncio.to_thread(lambda: list(sync_client.models.list()))] == [
        one.id for one in listed
    ]
    assert await client.models.retrieve("ragmesh-keyword") == listed[2]
    assert (await client.models.retrieve("m")).id == "m"


async def test_a_model_whose_name_has_slashes_is_found(gateway, client):
    gateway.backends.embedder.model = "org/name"
    assert (await client.models.retrieve("org/name")).id == "org/name"
    with pytest.raises(openai.NotFoundError, match="`a/b` does not exist"):
        await client.models.retrieve("a/b")


async def test_while_the_embedder_is_away_the_chat_models_are_listed(gateway, client):
    gateway.backends.embedder.stage.enter = _raising(Unavailable("Away.", "AWAY"))
    assert [one.id for one in (await client.models.list()).data] == ["ragmesh", "ragmesh-dense", "ragmesh-keyword"]


async def test_who_may_not_ask_may_not_list(gateway, client):
    gateway.backends.embedder.stage.enter = _raising(PermissionDenied("No.", "SCOPE_MISSING"))
    with pytest.raises(openai.PermissionDeniedError) as caught:
        await client.models.list()
    assert caught.value.code == "scope_missing"


def _raising(error: Exception):
    def enter(request: object, context: object) -> None:
        raise error

    return enter


def _numbers(embedding: object) -> object:
    # Who asks for base64 gets it as it is.
    return np.frombuffer(base64.b64decode(embedding), "<f4") if isinstance(embedding, str) else embedding


def _data(entries: object) -> list[dict]:
    import orjson

    return [orjson.loads(entry) for entry in entries]
