"""Answers as the generator's double streams them to the page."""

from __future__ import annotations

from rag.v1 import generator_pb2 as pb
from rag.v1 import passage_pb2
from tests.gateway.stage import HOLD

TEXT = "Keys rule the door. They are rotated each month, by the admin. Old keys stop working within five seconds."
QUOTE = "They are rotated each month, by the admin."


def source(number: int = 1, text: str = TEXT, title: str = "The manual", **fields: object) -> pb.Source:
    """A passage of page 7, whose text begins at character 100 of its document."""
    passage = passage_pb2.Passage(
        id=f"psg-{number}", document_id="doc-1", version=3, text=text, heading="Keys > Rotation", page=7, char_start=100
    )
    scores = {"score": 0.9, "dense_score": 0.62, "keyword_score": 8.5, **fields}
    return pb.Source(number=number, passage=passage, title=title, **scores)


def citation(answer: str, number: int = 1, text: str = TEXT, quote: str = QUOTE) -> pb.Citation:
    """The citation of the last marker in an answer."""
    at = answer.rindex(f"[{number}]")
    start = 100 + text.index(quote)
    return pb.Citation(
        number=number,
        passage_id=f"psg-{number}",
        page=7,
        char_start=at,
        char_end=at + 3,
        quote=quote,
        quote_start=start,
        quote_end=start + len(quote),
        document_id="doc-1",
        version=3,
        support=0.9,
    )


def usage() -> pb.Usage:
    """What an answer of a model cost."""
    stages = [
        pb.StageTime(stage=pb.STAGE_EMBEDDING, elapsed_ms=12),
        pb.StageTime(stage=pb.STAGE_RETRIEVAL, elapsed_ms=48),
        pb.StageTime(stage=pb.STAGE_GENERATION, elapsed_ms=940),
    ]
    return pb.Usage(
        input_tokens=1_200,
        output_tokens=85,
        cost_usd=0.0021,
        model="gpt-test",
        provider="openai",
        cache_layer=pb.CACHE_LAYER_NONE,
        stages=stages,
        first_token_ms=210,
        total_ms=1_004,
    )


def events(*parts: object, reason: int = pb.FINISH_REASON_STOP, sources: tuple[pb.Source, ...] = ()) -> list[object]:
    """The script of an answer: texts, citations, notices, HOLD and errors, between what every answer has around them."""
    names = {pb.Citation: "citation", passage_pb2.Notice: "notice", pb.Progress: "progress"}
    script: list[object] = [
        {"accepted": pb.Accepted(answer_id="ans-1", request_id="req-1")},
        {"progress": pb.Progress(stage=pb.STAGE_RETRIEVAL, elapsed_ms=2)},
        {"sources": pb.Sources(sources=sources or (source(),))},
        {"progress": pb.Progress(stage=pb.STAGE_GENERATION, elapsed_ms=50)},
    ]
    for part in parts:
        if isinstance(part, str):
            script.append({"token": pb.Token(text=part)})
        else:
            script.append({names[type(part)]: part} if type(part) in names else part)
    script += [{"usage": usage()}, {"done": pb.Done(finish_reason=reason)}]
    numbered = enumerate(script, 1)
    return [pb.GenerateResponse(sequence=n, **one) if isinstance(one, dict) else one for n, one in numbered]


def cited(*before: object) -> list[object]:
    """A short answer with one citation."""
    text = "Keys are rotated each month [1]."
    return events(*before, "Keys are rotated ", "each month [1]", citation(text), ".")


__all__ = ["HOLD", "QUOTE", "TEXT", "citation", "cited", "events", "source", "usage"]
