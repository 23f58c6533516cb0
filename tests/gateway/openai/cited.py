"""An answer with citations, as a generator sends it."""

from __future__ import annotations

from rag.v1 import generator_pb2 as pb
from rag.v1 import passage_pb2

FINISHED = pb.FINISH_REASON_STOP


def cited(*parts: str | int, finish: int = FINISHED) -> list[pb.GenerateResponse]:
    """Return the events of an answer: texts are tokens, numbers are markers of the source with that number."""
    events: list[dict[str, object]] = [
        {"accepted": pb.Accepted(answer_id="ans-1", request_id="req-1")},
        {
            "sources": pb.Sources(
                sources=[_source(number) for number in sorted({n for n in parts if isinstance(n, int)})]
            )
        },
    ]
    length = 0
    for part in parts:
        text = f"[{part}]" if isinstance(part, int) else part
        events.append({"token": pb.Token(text=text)})
        if isinstance(part, int):
            events.append({"citation": _citation(part, length, length + len(text))})
        length += len(text)
    events.append({"usage": _USAGE})
    events.append({"done": pb.Done(finish_reason=finish)})
    return [pb.GenerateResponse(sequence=n, **event) for n, event in enumerate(events, 1)]


_USAGE = pb.Usage(
    input_tokens=70, output_tokens=7, cached_input_tokens=30, cost_usd=0.5, provider="openai", model="big",
    cache_layer=pb.CACHE_LAYER_NONE,
)  # fmt: skip


def _source(number: int) -> pb.Source:
    passage = passage_pb2.Passage(id=f"p-{number}", document_id="doc /1", page=number, text="Text.")
    return pb.Source(number=number, passage=passage, title=f"Title {number}", score=0.5)


def _citation(number: int, start: int, end: int) -> pb.Citation:
    return pb.Citation(
        number=number, passage_id=f"p-{number}", document_id="doc /1", page=number, char_start=start, char_end=end,
        quote="Text.",
    )  # fmt: skip
