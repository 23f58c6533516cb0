from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rag.cli.show import plain, show_answer
from rag.v1 import generator_pb2 as pb

HOSTILE = "[red]x[/red] \x1b]0;title\x07 \x1b[2J \x9b31m"


class Scripted:
    """A client whose answers are given."""

    def __init__(self, *events: pb.GenerateResponse) -> None:
        self._events = events

    async def ask(self, question: str):
        for event in self._events:
            yield event


async def shown(*events: pb.GenerateResponse) -> tuple[int, str]:
    screen = io.StringIO()
    code = await show_answer(Console(file=screen, width=120, force_terminal=False), Scripted(*events), "Why?")
    return code, screen.getvalue()


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    assert not [c for c in plain(text) if (ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160]
    assert len(plain(text)) == len(text)


async def test_text_of_documents_and_models_is_shown_and_not_obeyed() -> None:
    source = pb.Source(number=1, title=HOSTILE)
    code, text = await shown(
        pb.GenerateResponse(sources=pb.Sources(sources=[source])),
        pb.GenerateResponse(token=pb.Token(text=HOSTILE)),
        pb.GenerateResponse(citation=pb.Citation(number=1, page=3, quote=HOSTILE)),
        pb.GenerateResponse(usage=pb.Usage(provider="extractive", model="extractive")),
        pb.GenerateResponse(done=pb.Done(finish_reason=pb.FINISH_REASON_STOP)),
    )
    assert code == 0
    assert text.count("[red]x[/red]") == 3
    assert "\x1b" not in text
    assert "\x9b" not in text


async def test_an_answer_without_an_end_is_a_failure() -> None:
    code, text = await shown(pb.GenerateResponse(token=pb.Token(text="half an ans")))
    assert code == 1
    assert "half an ans" in text
