from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.runtime.errors import Overloaded, TooLarge
from rag.v1 import generator_pb2, ingestor_pb2, passage_pb2
from services.gateway.limits.ledger import Spent
from services.gateway.limits.limiter import Admitted, Kind
from services.gateway.limits.limits import Limits
from services.gateway.limits.quota import Room
from services.gateway.messages.passing import bytes_of, kind_of, question_of, worth_reading
from services.gateway.watching import AnswerWatch, UploadWatch
from tests.gateway.messages import answer

USAGE = generator_pb2.Usage(input_tokens=7, output_tokens=5, cost_usd=0.0015)


def said(**events: object) -> list[generator_pb2.GenerateResponse]:
    return [
        generator_pb2.GenerateResponse(sequence=n, **{name: event}) for n, (name, event) in enumerate(events.items(), 1)
    ]


async def watched(events: list[generator_pb2.GenerateResponse], *, as_bytes: bool) -> AnswerWatch:
    watch, question = AnswerWatch(), generator_pb2.GenerateRequest(question="Why?")
    await watch.sent(question.SerializeToString() if as_bytes else question)
    for event in events:
        watch.saw(event.SerializeToString() if as_bytes else event)
    return watch


@pytest.mark.parametrize("as_bytes", [True, False])
async def test_an_answer_is_followed_to_its_end(as_bytes: bool) -> None:
    sources = [
        generator_pb2.Source(number=number, passage=passage_pb2.Passage(id="p", document_id=f"doc-{number}"))
        for number in (1, 2, 3)
    ]
    events = said(
        accepted=generator_pb2.Accepted(answer_id="ans-9"), sources=generator_pb2.Sources(sources=sources), usage=USAGE
    )
    cited = [
        generator_pb2.GenerateResponse(sequence=10, citation=generator_pb2.Citation(number=n)) for n in (3, 1, 3, 9)
    ]
    watch = await watched([*events[:2], *cited, events[2]], as_bytes=as_bytes)
    assert watch.spent == Spent(12, 1_500)
    answered = watch.answered()
    assert answered is not None
    assert (answered.answer_id, answered.question, answered.document_ids) == ("ans-9", "Why?", ("doc-3", "doc-1"))


@pytest.mark.parametrize("as_bytes", [True, False])
async def test_an_answer_that_broke_off_is_none(as_bytes: bool) -> None:
    watch = await watched(answer("a", "b")[:5], as_bytes=as_bytes)
    assert (watch.answered(), watch.spent) == (None, Spent())


GENERATION = generator_pb2.Progress(stage=generator_pb2.STAGE_GENERATION)
EXTRACTION = generator_pb2.Progress(stage=generator_pb2.STAGE_EXTRACTION)
REWRITING = generator_pb2.Progress(stage=generator_pb2.STAGE_REWRITING)


@pytest.mark.parametrize("as_bytes", [True, False])
async def test_what_a_model_read_and_wrote_before_its_caller_left_is_guessed(as_bytes: bool) -> None:
    source = generator_pb2.Source(number=1, passage=passage_pb2.Passage(text="word " * 600))
    asked = said(sources=generator_pb2.Sources(sources=[source]), progress=GENERATION)
    reading = (await watched(asked, as_bytes=as_bytes)).unbooked_tokens(is_left=True)
    assert 2_000 <= reading <= 2_200  # a thousand instructions, and 3,000 bytes
    tokens = [generator_pb2.GenerateResponse(sequence=9, token=generator_pb2.Token(text="x" * 50))] * 30
    writing = await watched([*asked, *tokens], as_bytes=as_bytes)
    assert reading + 500 <= writing.unbooked_tokens(is_left=True) <= reading + 700
    assert writing.unbooked_tokens(is_left=False) > 0  # it broke in the middle: what it wrote is billed
    whole = await watched([*asked, *tokens, *said(usage=USAGE)], as_bytes=as_bytes)
    assert (whole.unbooked_tokens(is_left=True), whole.spent) == (0, Spent(12, 1_500))
    twice = (await watched([*said(progress=REWRITING), *asked], as_bytes=as_bytes)).unbooked_tokens(is_left=True)
    assert twice >= reading + 1_000


@pytest.mark.parametrize("as_bytes", [True, False])
async def test_nothing_is_guessed_where_no_model_was_asked(as_bytes: bool) -> None:
    replayed = await watched(answer("a", "b")[:5], as_bytes=as_bytes)
    assert replayed.unbooked_tokens(is_left=True) == 0
    failed = await watched(said(progress=GENERATION), as_bytes=as_bytes)
    assert failed.unbooked_tokens(is_left=False) == 0
    picked = await watched(said(progress=EXTRACTION), as_bytes=as_bytes)
    assert picked.unbooked_tokens(is_left=True) == 0


async def test_a_cached_answer_costs_nothing() -> None:
    usage = generator_pb2.Usage(input_tokens=7, cost_usd=1, from_cache=True)
    watch = await watched(said(accepted=generator_pb2.Accepted(answer_id="a"), usage=usage), as_bytes=True)
    assert watch.spent == Spent()
    assert watch.answered() is not None


@given(st.integers(0, 2**64 - 1), st.sampled_from(range(8)))
def test_only_what_is_worth_it_is_parsed(sequence: int, number: int) -> None:
    event = answer("token")[number]
    event.sequence = sequence
    name = event.WhichOneof("event")
    is_worth = name in {"accepted", "progress", "sources", "citation", "usage"}
    assert worth_reading(event.SerializeToString()) == (event if is_worth else None)
    assert worth_reading(event) == (event if is_worth else None)


@given(st.binary(max_size=60))
async def test_no_bytes_break_the_watching(raw: bytes) -> None:
    watch = AnswerWatch()
    await watch.sent(raw)
    watch.saw(raw)
    assert bytes_of(raw) <= len(raw)
    assert question_of(raw) is not None


@given(st.binary(max_size=300), st.text(max_size=20), st.integers(0, 3))
def test_no_part_carries_more_than_is_counted(chunk: bytes, name: str, seed: int) -> None:
    header = ingestor_pb2.SubmitDocumentHeader(name=name, document_id="d" * seed)
    assert bytes_of(ingestor_pb2.SubmitDocumentRequest(header=header).SerializeToString()) == 0
    part = ingestor_pb2.SubmitDocumentRequest(chunk=chunk)
    assert bytes_of(part.SerializeToString()) == bytes_of(part) == len(chunk)
    # Several members of a oneof in one message: the last one counts for the reader.
    hidden = ingestor_pb2.SubmitDocumentRequest(header=header).SerializeToString() + part.SerializeToString()
    assert bytes_of(hidden) >= len(chunk)


@pytest.mark.parametrize("as_bytes", [True, False])
async def test_an_upload_is_broken_off_where_it_grows_too_large(as_bytes: bool) -> None:
    part = ingestor_pb2.SubmitDocumentRequest(chunk=b"x" * 40)
    request = part.SerializeToString() if as_bytes else part
    watch = UploadWatch(Admitted("t", "", Limits(upload_bytes=100)))
    await watch.sent(request)
    await watch.sent(request)
    with pytest.raises(TooLarge) as caught:
        await watch.sent(request)
    assert caught.value.reason == "UPLOAD_TOO_LARGE"
    crowded = UploadWatch(Admitted("t", "", Limits(stored_bytes=1_000), room=Room(39)))
    with pytest.raises(Overloaded) as full:
        await crowded.sent(request)
    assert (full.value.reason, full.value.retry_after_s) == ("QUOTA_BYTES", 3_600)


def test_the_contract_says_what_a_call_takes() -> None:
    assert kind_of("/rag.v1.GeneratorService/Generate") == Kind(is_stream=True, is_answer=True)
    assert kind_of("/rag.v1.IngestorService/SubmitDocument") == Kind(is_upload=True)
    assert kind_of("/rag.v1.IngestorService/SubmitUrl") == Kind(is_upload=True, is_fetched=True)
    assert kind_of("/rag.v1.IngestorService/WatchJob") == Kind(is_stream=True)
    assert kind_of("/rag.v1.RetrieverService/GetDocument") == Kind()
