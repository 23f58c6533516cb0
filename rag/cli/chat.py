"""`ragmesh chat`: a conversation with documents."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import typer
from rich.text import Text

from rag.cli.answer import Answer
from rag.cli.asking import Documents, MinScore, ModeOption, TopK, Where, retrieval
from rag.cli.show import show_answer, show_sources
from rag.cli.terminal import DEFAULT_ADDRESS, Address, connected, err, exit_code, out, say_error
from rag.client import RagClient
from rag.history import MAX_HISTORY_CHARS, MAX_TURN_CHARS, MAX_TURNS
from rag.runtime.errors import RagError
from rag.v1 import generator_pb2 as pb

_HELP = "/new begins anew, /sources shows all passages behind the last answer, /help this. Ctrl-C stops an answer, Ctrl-D leaves."


@dataclass(slots=True)
class Conversation:
    """What was said so far, as much of it as a question may carry."""

    turns: list[pb.Turn] = field(default_factory=list)
    last: Answer = field(default_factory=Answer)

    def add(self, question: str, answer: Answer) -> None:
        """Remember a question and its answer; one that said nothing is not worth it."""
        self.last = answer
        if not answer.text.strip():
            return
        self.turns.append(pb.Turn(role=pb.ROLE_USER, text=question[:MAX_TURN_CHARS]))
        self.turns.append(pb.Turn(role=pb.ROLE_ASSISTANT, text=answer.text[:MAX_TURN_CHARS]))
        while len(self.turns) > MAX_TURNS or sum(len(turn.text) for turn in self.turns) > MAX_HISTORY_CHARS:
            del self.turns[:2]


def chat(
    *,
    top_k: TopK = None,
    mode: ModeOption = None,
    min_score: MinScore = None,
    document: Documents = None,
    where: Where = None,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Talk with your documents: each question is understood by those before it.

    /new begins anew, /sources shows all passages behind the last answer. Ctrl-C stops an answer, Ctrl-D leaves. In a pipe, each
    line is a question.
    """
    how = retrieval(top_k, mode, min_score, document or (), where or ())
    # One event loop for all answers: it stands still while somebody types, and Ctrl-C ends the answer and not the loop.
    with asyncio.Runner() as runner:
        try:
            rag = runner.run(connected(address).__aenter__())
        except RagError as error:
            say_error(error)
            raise typer.Exit(exit_code(error)) from error
        try:
            code = _talk(runner, rag, how)
        finally:
            runner.run(rag.__aexit__())
    raise typer.Exit(code)


def _talk(runner: asyncio.Runner, rag: RagClient, how: dict[str, Any]) -> int:
    conversation, code = Conversation(), 0
    with suppress(ImportError):
        import readline  # noqa: F401 - gives `input` its arrow keys
    if sys.stdin.isatty():
        err.print(Text(_HELP, style="dim"))
    while (said := _next()) is not None:
        if said.startswith("/"):
            _obey(said, conversation)
        elif said:
            code = _answer(runner, rag, said, conversation, how)
    return code


def _next() -> str | None:
    prompt = "\n\001\033[1;36m\002› \001\033[0m\002" if sys.stdin.isatty() and out.is_terminal else ""
    try:
        return input(prompt).strip()
    except EOFError:
        return None
    except KeyboardInterrupt:
        err.print(Text("\nCtrl-D leaves.", style="dim"))
        return ""


def _obey(said: str, conversation: Conversation) -> None:
    match said:
        case "/new":
            conversation.turns.clear()
            err.print("A new conversation.")
        case "/sources":
            show_sources(out, conversation.last)
        case _:
            err.print(_HELP)


def _answer(
    runner: asyncio.Runner, rag: RagClient, question: str, conversation: Conversation, how: dict[str, Any]
) -> int:
    answer, code = Answer(), 0
    try:
        out.print()
        runner.run(show_answer(out, rag.ask(question, history=conversation.turns, **how), answer=answer))
    except KeyboardInterrupt:
        err.print(Text("\nstopped", style="yellow"))
    except RagError as error:
        say_error(error)
        code = exit_code(error)
    conversation.add(question, answer)
    return code
