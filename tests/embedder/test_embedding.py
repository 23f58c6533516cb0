from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import numpy as np
import pytest

from rag.runtime.errors import InvalidInput, Overloaded, Unavailable
from services.embedder.adapters.memory_cache import MemoryCache
from services.embedder.batching import Batcher
from services.embedder.caching import Caches, Claim, Computed, Document
from services.embedder.embedding import MAX_BYTES, MAX_TEXTS, Batch, Embedding, vector_key
from services.embedder.model import Bounds, ModelInfo
from tests.embedder.conftest import FakeModel, vector_of


class Shared:
    """What all share, in memory; reads are counted and claims kept."""

    def __init__(self) -> None:
        self.vectors: dict[str, np.ndarray] = {}
        self.reads: list[int] = []
        self.claimed: dict[Document, set[str]] = {}

    async def get(self, keys: Sequence[str], dimension: int, claim: Claim | None):
        self.reads.append(len(keys))
        if claim:
            self.claimed.setdefault(claim.document, set()).update(claim.keys)
        return [self.vectors.get(key) for key in keys]

    async def put(self, computed: Sequence[Computed]) -> None:
        self.vectors |= {one.key: one.vector for one in computed}

    async def forget(self, document: Document) -> AsyncGenerator[Sequence[str]]:
        keys = sorted(self.claimed.pop(document, ()))
        for key in keys:
            self.vectors.pop(key, None)
            yield [key]


class Layers(Caches):
    """Both caches, and a way to fill them."""

    def __init__(self) -> None:
        self.memory, self.shared = MemoryCache(1 << 20), Shared()
        super().__init__(self.memory, self.shared)

    @property
    def reads(self) -> list[int]:
        return self.shared.reads

    def know(self, cache: MemoryCache | Shared, info: ModelInfo, *texts: str) -> None:
        vectors = {vector_key(info, text): vector_of(text) for text in texts}
        if isinstance(cache, Shared):
            cache.vectors |= vectors
        else:
            cache.put(vectors)


def embedding_of(model: FakeModel, caches: Layers, queue_tokens: int = 10_000) -> Embedding:
    batcher = Batcher(model, Bounds(1_000), caches.keep, queue_tokens=queue_tokens, patience_s=0.0)
    return Embedding(model, batcher, caches)


@pytest.fixture
def caches() -> Layers:
    return Layers()


@pytest.fixture
def embedding(fake_model: FakeModel, caches: Layers) -> Embedding:
    return embedding_of(fake_model, caches)


async def collect(embedding: Embedding, texts: Sequence[str], document: Document | None = None) -> list[Batch]:
    async with aclosing(embedding.embed(texts, document)) as batches:
        return [batch async for batch in batches]


def assert_answers(batches: Sequence[Batch], texts: Sequence[str]) -> None:
    offset = 0
    for batch in batches:
        assert batch.offset == offset
        assert batch.vectors.dtype == np.float32
        assert batch.vectors.flags.c_contiguous
        usage = batch.usage
        assert usage.from_memory + usage.from_redis + usage.computed == len(batch.vectors)
        offset += len(batch.vectors)
    assert np.array_equal(np.concatenate([batch.vectors for batch in batches]), [vector_of(text) for text in texts])


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ([], "NO_TEXTS"),
        (["a"] * (MAX_TEXTS + 1), "TOO_MANY_TEXTS"),
        (["a", ""], "EMPTY_TEXT"),
        ([" \n\t\u00a0"], "EMPTY_TEXT"),
        (["a" * (MAX_BYTES + 1)], "TEXTS_TOO_LARGE"),
        (["\u00e9" * (MAX_BYTES // 2), "a"], "TEXTS_TOO_LARGE"),
    ],
    ids=["none", "too many", "empty", "blank", "too large", "too large together"],
)
async def test_bad_texts_are_refused(embedding, fake_model, texts, reason):
    with pytest.raises(InvalidInput) as error:
        await collect(embedding, texts)
    assert error.value.reason == reason
    assert not fake_model.runs


async def test_the_most_texts_come_in_order_in_several_batches(embedding):
    texts = [f"text {n}" for n in range(MAX_TEXTS)]
    batches = await collect(embedding, texts)
    assert len(batches) > 10
    assert_answers(batches, texts)


async def test_order_holds_whatever_comes_from_where(embedding, caches, fake_model):
    info = await fake_model.describe()
    texts = [f"text {n}" for n in range(300)]
    caches.know(caches.memory, info, *texts[::3])
    caches.know(caches.shared, info, *texts[1::3])
    batches = await collect(embedding, texts)
    assert_answers(batches, texts)
    usages = [batch.usage for batch in batches]
    assert [sum(getattr(usage, name) for usage in usages) for name in ("from_memory", "from_redis", "computed")] == [
        100
    ] * 3
    assert sum(usage.tokens for usage in usages) == 200
    assert sorted(text for run in fake_model.runs for text in run) == sorted(texts[2::3])


async def test_each_batch_asks_redis_once_and_only_for_what_memory_has_not(embedding, caches, fake_model):
    caches.know(caches.memory, await fake_model.describe(), "a")
    await collect(embedding, ["a", "b", "c"])
    await collect(embedding, ["a", "b", "c"])
    assert caches.reads == [2]


async def test_what_redis_knows_is_kept_in_memory(embedding, caches, fake_model):
    caches.know(caches.shared, await fake_model.describe(), "a")
    assert (await collect(embedding, ["a"]))[0].usage.from_redis == 1
    assert (await collect(embedding, ["a"]))[0].usage.from_memory == 1
    assert not fake_model.runs


async def test_a_text_is_computed_once_per_call_however_often_it_comes(embedding, fake_model):
    texts = [f"text {n % 7}" for n in range(400)]
    batches = await collect(embedding, texts)
    assert_answers(batches, texts)
    assert sum(batch.usage.computed for batch in batches) == 7
    assert sum(batch.usage.from_memory for batch in batches) == 393
    assert fake_model.prepared == 7


async def test_the_same_question_of_many_callers_at_once_is_computed_once(embedding, fake_model):
    fake_model.gate = asyncio.Semaphore(0)
    calls = [asyncio.create_task(collect(embedding, ["a question"])) for _ in range(20)]
    await fake_model.started.acquire()
    late = asyncio.create_task(collect(embedding, ["a question"]))
    fake_model.gate.release()
    answers = [(await call)[0] for call in (*calls, late)]
    assert fake_model.runs == [["a question"]]
    assert sum(answer.usage.computed for answer in answers) == 1
    assert all(np.array_equal(answer.vectors, [vector_of("a question")]) for answer in answers)


async def test_texts_that_unicode_calls_equal_are_one_text(embedding, fake_model):
    composed, decomposed = "caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9")
    batches = await collect(embedding, [decomposed, composed])
    assert np.array_equal(*batches[0].vectors)
    assert fake_model.runs == [[composed]]


async def test_cut_texts_are_counted(embedding):
    usage = (await collect(embedding, ["x " * 11, "x " * 10]))[0].usage
    assert (usage.truncated, usage.tokens) == (1, 20)


async def test_the_first_batch_comes_before_the_last_is_computed(embedding, fake_model):
    fake_model.gate = asyncio.Semaphore(1)
    async with aclosing(embedding.embed([f"text {n}" for n in range(256)])) as batches:
        first = await anext(batches)
        assert (first.offset, len(first.vectors)) == (0, 128)
        fake_model.gate.release()
        assert (await anext(batches)).offset == 128


async def test_a_reader_that_leaves_takes_its_texts_out_of_the_queue(embedding, fake_model):
    fake_model.gate = asyncio.Semaphore(0)
    stream = embedding.embed([f"text {n}" for n in range(1_000)])
    reading = asyncio.create_task(anext(stream))
    await fake_model.started.acquire()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await stream.aclose()
    fake_model.gate.release()
    fake_model.gate = None
    assert_answers(await collect(embedding, ["next"]), ["next"])
    assert fake_model.runs[-1] == ["next"]
    assert len(fake_model.runs) == 2


async def test_what_a_run_computed_after_its_reader_left_is_not_computed_again(embedding, fake_model):
    texts = [f"text {n}" for n in range(5)]
    fake_model.gate = asyncio.Semaphore(0)
    reading = asyncio.create_task(collect(embedding, texts))
    await fake_model.started.acquire()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    again = asyncio.create_task(collect(embedding, texts))
    await asyncio.sleep(0)
    fake_model.gate.release()
    batches = await again
    assert_answers(batches, texts)
    assert sum(batch.usage.computed for batch in batches) == 0
    assert len(fake_model.runs) == 1


async def test_many_callers_of_the_same_texts_share_one_computation(embedding, fake_model):
    texts = [f"text {n}" for n in range(30)]
    answers = await asyncio.gather(*(collect(embedding, texts[n:] + texts[:n]) for n in range(10)))
    assert sum(batch.usage.computed for batches in answers for batch in batches) == 30
    assert sum(batch.usage.tokens for batches in answers for batch in batches) == 60
    assert sorted(text for run in fake_model.runs for text in run) == sorted(texts)


async def test_a_text_computed_while_another_caller_looked_it_up_is_not_computed_again(fake_model, caches):
    embedding = embedding_of(fake_model, caches)
    preparing = asyncio.Event()

    class Slow(FakeModel):
        async def prepare(self, texts):
            preparing.set()
            await go_on.wait()
            return await super().prepare(texts)

    go_on = asyncio.Event()
    slow = Slow()
    late = Embedding(slow, embedding._batcher, caches)
    second = asyncio.create_task(collect(late, ["a"]))
    await preparing.wait()
    await collect(embedding, ["a"])
    go_on.set()
    assert (await second)[0].usage.from_memory == 1
    assert fake_model.runs == [["a"]]


async def test_a_document_claims_all_its_texts_wherever_they_come_from(embedding, caches, fake_model):
    info = await fake_model.describe()
    caches.know(caches.memory, info, "a")
    caches.know(caches.shared, info, "b")
    document = Document("t", "d")
    await collect(embedding, ["a", "b", "c"], document)
    assert caches.shared.claimed == {document: {vector_key(info, text) for text in "abc"}}
    await collect(embedding, ["a"])
    await collect(embedding, ["a", "d"], Document("u", "d"))
    assert len(caches.shared.claimed[document]) == 3


async def test_what_is_forgotten_is_computed_again(embedding, caches, fake_model):
    document = Document("t", "d")
    await collect(embedding, ["a", "b"], document)
    await collect(embedding, ["q"])
    assert await embedding.forget(Document("u", "d")) == 0
    assert await embedding.forget(document) == 2
    assert await embedding.forget(document) == 0
    assert (await collect(embedding, ["a", "b", "q"]))[0].usage.computed == 2


async def test_a_full_queue_refuses_what_must_be_computed_and_answers_what_is_known(fake_model, caches):
    embedding = embedding_of(fake_model, caches, queue_tokens=1)
    await collect(embedding, ["known"])
    fake_model.gate = asyncio.Semaphore(0)
    running = asyncio.create_task(collect(embedding, ["running"]))
    await fake_model.started.acquire()
    await fake_model.started.acquire()
    waiting = asyncio.create_task(collect(embedding, ["waiting"]))
    while fake_model.prepared < 3:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await collect(embedding, ["refused"])
    assert_answers(await collect(embedding, ["known"]), ["known"])
    fake_model.gate.release()
    fake_model.gate.release()
    await asyncio.gather(running, waiting)


async def test_an_error_of_the_model_ends_the_stream_and_keeps_nothing(embedding, fake_model):
    fake_model.error = Unavailable("Away.", "AWAY")
    with pytest.raises(Unavailable):
        await collect(embedding, [f"text {n}" for n in range(300)])
    fake_model.error = None
    assert (await collect(embedding, ["text 1"]))[0].usage.computed == 1


async def test_ready_once_the_model_has_answered(embedding, fake_model):
    fake_model.error = Unavailable("Away.", "AWAY")
    assert not await embedding.is_ready()
    fake_model.error = None
    assert await embedding.is_ready()
    fake_model.error = Unavailable("Away.", "AWAY")
    assert await embedding.is_ready()


def test_a_key_holds_all_that_a_vector_depends_on():
    info = ModelInfo("org/model:latest", "r:1", 384, 256, "openai")
    digest = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"  # of "a", as published
    assert vector_key(info, "a") == f"rag:vector:org%2Fmodel%3Alatest:r%3A1:384:{digest}"


async def test_wide_vectors_come_in_smaller_batches():
    class Wide(FakeModel):
        async def describe(self) -> ModelInfo:
            return ModelInfo("wide", "1", 200_000, 10, "openai")

    model = Wide()
    batches = await collect(embedding_of(model, Layers()), ["a", "b", "c"])
    assert [len(batch.vectors) for batch in batches] == [1, 1, 1]
