"""Messages of the contract, as the doubles send them."""

from __future__ import annotations

from rag.v1 import generator_pb2, ingestor_pb2, passage_pb2, retriever_pb2


def answer(*texts: str, last: object = None) -> list[generator_pb2.GenerateResponse]:
    """The events of an answer of these tokens."""
    source = generator_pb2.Source(
        number=1, passage=passage_pb2.Passage(id="p-1", char_end=2**53 - 1), title="T", score=0.5
    )
    events = [
        {"accepted": generator_pb2.Accepted(answer_id="ans-1", request_id="req-from-generator")},
        {"progress": generator_pb2.Progress(stage=generator_pb2.STAGE_RETRIEVAL, elapsed_ms=1.5)},
        {"sources": generator_pb2.Sources(sources=[source])},
        *({"token": generator_pb2.Token(text=text)} for text in texts),
        {"citation": generator_pb2.Citation(number=1, passage_id="p-1", page=2, char_start=3, char_end=6, quote="q")},
        {"notice": passage_pb2.Notice(code="KEYWORD_ONLY", message="Only words were searched.")},
        {
            "usage": generator_pb2.Usage(
                input_tokens=7, provider="extractive", cache_layer=generator_pb2.CACHE_LAYER_NONE
            )
        },
        {"done": generator_pb2.Done(finish_reason=generator_pb2.FINISH_REASON_STOP)},
    ]
    return [generator_pb2.GenerateResponse(sequence=n, **event) for n, event in enumerate(events, 1)]


def hits() -> list[retriever_pb2.RetrieveResponse]:
    """The events of a search with one hit."""
    hit = retriever_pb2.Hit(rank=1, score=0.25, keyword_score=2.0, passage=passage_pb2.Passage(id="p-1"), title="T")
    summary = retriever_pb2.RetrieveSummary(hits=1, total_ms=3.0)
    return [retriever_pb2.RetrieveResponse(hit=hit), retriever_pb2.RetrieveResponse(summary=summary)]


def document(document_id: str) -> retriever_pb2.Document:
    """A document of the catalogue."""
    made = retriever_pb2.Document(id=document_id, version=2**40, name="a.pdf", size_bytes=2**40)
    made.metadata["year"].number = 2024
    made.metadata["team"].text = "ops"
    made.metadata["public"].flag = True
    made.created_at.FromJsonString("2026-01-02T03:04:05Z")
    return made


def job(state: str, **fields: int) -> ingestor_pb2.Job:
    """A job in a state."""
    value = ingestor_pb2.JobState.Value(f"JOB_STATE_{state.upper()}")
    return ingestor_pb2.Job(id="job-1", document_id="doc-1", name="a.pdf", state=value, **fields)


def job_events(*states: str) -> list[ingestor_pb2.WatchJobResponse]:
    """One event of a job per state."""
    return [ingestor_pb2.WatchJobResponse(sequence=n, job=job(state)) for n, state in enumerate(states, 1)]
