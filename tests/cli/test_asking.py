"""`ask`, `chat`, `search`, `usage`, `feedback` and `doctor`, as processes in front of a gateway in memory."""

from __future__ import annotations

import asyncio
import signal

import pytest

from rag.runtime.errors import Unavailable
from rag.v1 import gateway_pb2 as door
from rag.v1 import generator_pb2 as pb
from rag.v1 import passage_pb2
from rag.v1 import retriever_pb2 as index
from tests.cli.conftest import Run, start
from tests.cli.gateway import Gateway
from tests.waiting import until

SOURCES = [
    pb.Source(number=1, title="Handbook", score=0.9, passage=passage_pb2.Passage(page=12, text="A lease lasts.")),
    pb.Source(number=2, title="Notes", score=0.5, passage=passage_pb2.Passage(text="Never cited.")),
]
ANSWER = [
    pb.GenerateResponse(accepted=pb.Accepted(answer_id="ans-1")),
    pb.GenerateResponse(progress=pb.Progress(stage=pb.STAGE_RETRIEVAL)),
    pb.GenerateResponse(sources=pb.Sources(sources=SOURCES)),
    pb.GenerateResponse(token=pb.Token(text="Ten seconds ")),
    pb.GenerateResponse(token=pb.Token(text="[1].")),
    pb.GenerateResponse(citation=pb.Citation(number=1, page=12, quote="The lease lasts ten seconds.")),
    pb.GenerateResponse(usage=pb.Usage(provider="openai", model="m")),
    pb.GenerateResponse(done=pb.Done(finish_reason=pb.FINISH_REASON_STOP)),
]


@pytest.fixture
def answering(gateway: Gateway) -> Gateway:
    gateway.script = list(ANSWER)
    return gateway


async def test_an_answer_in_a_pipe_is_text_and_its_citations(answering: Gateway, ragmesh: Run) -> None:
    words = ("--top-k", "3", "--mode", "keyword", "--document", "d", "--where", "year=2026", "--no-cache")
    done = await ragmesh("ask", "How long?", *words)
    assert (done.code, done.err) == (0, "")
    assert done.lines[0] == "Ten seconds [1]."
    assert "[1] Handbook 12 The lease lasts ten seconds." in done.lines
    assert done.lines[-1] == "ans-1"
    [asked] = answering.questions
    assert (asked.question, asked.top_k, asked.mode) == ("How long?", 3, index.RETRIEVAL_MODE_KEYWORD)
    assert (list(asked.filter.document_ids), asked.filter.conditions[0].equals.number) == (["d"], 2026)
    assert asked.HasField("use_cache")
    assert not asked.use_cache


async def test_an_answer_for_a_program_is_a_line_for_each_event_or_one(answering: Gateway, ragmesh: Run) -> None:
    streamed, whole = await asyncio.gather(ragmesh("ask", "q", "--json"), ragmesh("ask", "q", "--json", "--no-stream"))
    assert [row["event"] for row in streamed.rows] == [event.WhichOneof("event") for event in ANSWER]
    assert [row["sequence"] for row in streamed.rows] == list(range(1, len(ANSWER) + 1))
    [row] = whole.rows
    assert (row["answer"], row["answer_id"], row["finish_reason"]) == ("Ten seconds [1].", "ans-1", "stop")
    assert row["citations"][0]["page"] == 12


async def test_a_terminal_shows_stages_text_and_sources(answering: Gateway, in_terminal: Run) -> None:
    done = await in_terminal("ask", "How long?")
    assert done.code == 0
    assert done.err.index("? How long?") < done.err.index("Ten seconds [1].") < done.err.index("quoted sentence")


async def test_errors_have_a_sentence_and_an_exit_code(gateway: Gateway, ragmesh: Run) -> None:
    gateway.script = [ANSWER[3], Unavailable("The model is away.", "MODEL_UNAVAILABLE")]
    gateway.key = "rmk_secret"
    away, stranger, let_in, wrong = await asyncio.gather(
        ragmesh("ask", "q", "--address", "127.0.0.1:1"),
        ragmesh("usage"),
        ragmesh("ask", "q", "--key", "rmk_secret"),
        ragmesh("aks"),
    )
    assert (away.code, away.out.strip()) == (3, "")
    assert "ragmesh up" in away.err
    assert stranger.code == 4
    assert "RAGMESH_KEY" in stranger.err
    assert let_in.code == 3
    assert "Ten seconds" in let_in.out
    assert "MODEL_UNAVAILABLE" in let_in.err
    assert wrong.code == 2
    assert "'ask'" in wrong.err


async def test_a_key_is_read_from_a_pipe_and_not_sent_away_in_plain_text(gateway: Gateway, ragmesh: Run) -> None:
    gateway.key = "rmk_secret"
    process = await start(gateway, "usage", "--json", "--key", "-", stdin=asyncio.subprocess.PIPE)
    out, err = await process.communicate(b"rmk_secret\n")
    assert process.returncode == 0, err
    assert b'"requests_today"' in out
    refused = await ragmesh("usage", "--key", "rmk_secret", "--address", "10.0.0.7:50050")
    assert refused.code == 1
    assert "KEY_IN_PLAIN_TEXT" in refused.err
    assert "rmk_secret" not in refused.err


async def test_hits_are_shown_with_the_scores_of_both_legs(gateway: Gateway, ragmesh: Run, in_terminal: Run) -> None:
    long = index.Hit(rank=1, score=0.9, dense_score=0.8, title="T", passage=passage_pb2.Passage(text="word " * 90))
    gateway.hits = [long, index.Hit(rank=2, score=0.5, keyword_score=3.5, title="U")]
    piped, told, seen = await asyncio.gather(
        ragmesh("search", "q", "--mode", "dense"), ragmesh("search", "q", "--json"), in_terminal("search", "q")
    )
    assert piped.lines[1] == f"1 0.900 0.800 - T - {('word ' * 90).strip()}"
    assert piped.lines[2] == "2 0.500 - 3.500 U -"
    assert "2 of 40 dense and 7 keyword candidates" in piped.err
    assert [row["keyword_score"] for row in told.rows] == [None, 3.5]
    assert all(column in seen.err.splitlines()[0] for column in ("score", "dense", "keyword", "document", "passage"))
    assert all(len(line) <= 100 for line in seen.err.splitlines())


async def test_usage_is_shown_with_its_limits_and_feedback_is_sent(gateway: Gateway, ragmesh: Run) -> None:
    gateway.usage = door.GetUsageResponse(tenant="t", tokens_today=door.Meter(used=930, limit=1000))
    shown, said = await asyncio.gather(
        ragmesh("usage"), ragmesh("feedback", "ans-1", "down", "--comment", "It is old.")
    )
    assert "tokens today 930 1,000 93%" in shown.lines
    assert said.code == 0
    [rating] = gateway.ratings
    assert (rating.answer_id, rating.rating, rating.comment) == ("ans-1", door.RATING_DOWN, "It is old.")


async def test_a_conversation_is_kept_until_a_new_one(answering: Gateway) -> None:
    process = await start(answering, "chat", stdin=asyncio.subprocess.PIPE)
    out, _ = await process.communicate(b"first\nsecond\n/sources\n/new\nthird\n")
    assert process.returncode == 0
    assert [len(asked.history) for asked in answering.questions] == [0, 2, 0]
    assert [turn.text for turn in answering.questions[1].history] == ["first", "Ten seconds [1]."]
    assert b"Never cited." in out


async def test_ctrl_c_stops_an_answer_and_not_the_conversation(answering: Gateway) -> None:
    answering.hold_answer = asyncio.Event()
    process = await start(answering, "chat", stdin=asyncio.subprocess.PIPE)
    assert process.stdin
    process.stdin.write(b"first\n")
    await process.stdin.drain()
    assert process.stdout
    while b"Ten seconds" not in await process.stdout.read(4096):
        pass
    process.send_signal(signal.SIGINT)
    await until(lambda: answering.left == ["first"])
    answering.hold_answer.set()
    _, err = await process.communicate(b"second\n")
    assert process.returncode == 0
    assert b"stopped" in err
    question, stopped = answering.questions[1].history
    assert question.text == "first"
    assert stopped.text.startswith("Ten seconds")


async def test_the_doctor_says_what_to_do(gateway: Gateway, ragmesh: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REDIS_URL", "MILVUS_URI", "OPENAI_BASE_URL"):
        monkeypatch.setenv(
            name, {"REDIS_URL": "redis://127.0.0.1:1", "OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}.get(name, "")
        )
    done = await ragmesh("doctor", "--json")
    found = {row["check"]: row for row in done.rows}
    assert done.code == 1
    assert (found["gateway"]["state"], found["key"]["state"]) == ("good", "good")
    assert {"Redis", "model"} == {row["check"] for row in done.rows if row["state"] == "wrong"}
    assert all(row["advice"] for row in done.rows if row["state"] == "wrong")
