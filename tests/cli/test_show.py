from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rag.cli.plain import plain
from rag.cli.show import show_answer
from rag.v1 import generator_pb2 as pb
from tests.waiting import until

HOSTILE = "[red]x[/red] \x1b]0;title\x07 \x1b[2J \x9b31m"


async def scripted(*events: pb.GenerateResponse):
    for event in events:
        yield event


async def shown(*events: pb.GenerateResponse, stream: bool = True) -> tuple[bool, str]:
    screen = io.StringIO()
    console = Console(file=screen, width=120, force_terminal=False)
    answer = await show_answer(console, scripted(*events), stream=stream)
    return answer.is_complete, screen.getvalue()


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    assert not [c for c in plain(text) if (ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160]
    assert len(plain(text)) == len(text)


async def test_text_of_documents_and_models_is_shown_and_not_obeyed() -> None:
    source = pb.Source(number=1, title=HOSTILE)
    complete, text = await shown(
        pb.GenerateResponse(sources=pb.Sources(sources=[source])),
        pb.GenerateResponse(token=pb.Token(text=HOSTILE)),
        pb.GenerateResponse(citation=pb.Citation(number=1, page=3, quote=HOSTILE)),
        pb.GenerateResponse(usage=pb.Usage(provider="extractive", model="extractive")),
        pb.GenerateResponse(done=pb.Done(finish_reason=pb.FINISH_REASON_STOP)),
    )
    assert complete
    assert text.count("[red]x[/red]") == 3
    assert "\x1b" not in text
    assert "\x9b" not in text


async def test_an_answer_without_an_end_is_not_complete() -> None:
    complete, text = await shown(pb.GenerateResponse(token=pb.Token(text="half an ans")))
    assert not complete
    assert "half an ans" in text


async def test_a_pipe_gets_whole_lines_and_no_stages() -> None:
    quote = "word " * 60
    events = [
        pb.GenerateResponse(progress=pb.Progress(stage=pb.STAGE_RETRIEVAL)),
        pb.GenerateResponse(sources=pb.Sources(sources=[pb.Source(number=1, title="T")])),
        pb.GenerateResponse(token=pb.Token(text="It is so [1].")),
        pb.GenerateResponse(citation=pb.Citation(number=1, page=7, quote=quote)),
        pb.GenerateResponse(done=pb.Done(finish_reason=pb.FINISH_REASON_STOP)),
    ]
    _, text = await shown(*events)
    assert text.startswith("It is so [1].\n")
    assert "searching" not in text
    [cited] = [line for line in text.splitlines() if line.startswith("[1]")]
    assert quote.strip() in cited
    assert (await shown(*events, stream=False))[1] == text


async def test_a_terminal_shows_stages_until_the_first_token() -> None:
    screen = io.StringIO()

    async def slow():
        yield pb.GenerateResponse(progress=pb.Progress(stage=pb.STAGE_RETRIEVAL))
        await until(lambda: "searching" in screen.getvalue())
        yield pb.GenerateResponse(token=pb.Token(text="It is so."))

    # A terminal that can move its cursor.
    moving = Console(
        file=screen,
        width=80,
        force_terminal=True,
        force_interactive=True,
        _environ={"TERM": "xterm"},
        color_system=None,
    )
    await show_answer(moving, slow())
    text = screen.getvalue()
    assert text.index("searching") < text.index("It is so.")
    assert "searching" not in text[text.index("It is so.") :]


async def test_a_stage_of_a_newer_server_does_not_break_the_end_of_an_answer() -> None:
    complete, text = await shown(
        pb.GenerateResponse(token=pb.Token(text="Whole.")),
        pb.GenerateResponse(usage=pb.Usage(stages=[pb.StageTime(stage=99, elapsed_ms=5)], total_ms=7)),
        pb.GenerateResponse(done=pb.Done(finish_reason=pb.FINISH_REASON_STOP)),
    )
    assert complete
    assert "7 ms in all" in text
