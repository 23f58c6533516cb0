"""Every word of the command: it can be loaded, says what its list says, has examples, and nothing heavy is loaded to list them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rag.cli.loading import loaded
from rag.cli.words import WORDS, Word

HEAVY = ("grpc", "redis", "pydantic", "rag.client", "numpy")


@pytest.mark.parametrize("word", WORDS, ids=lambda word: word.name)
def test_a_word_is_what_its_list_says(word: Word) -> None:
    command = loaded(word)
    assert command.name == word.name
    assert " ".join(command.help.split()).startswith(word.help.split(":")[0].rstrip("."))
    below = list(getattr(command, "commands", {}).values())
    for each in below or [command]:
        assert "Example" in (each.epilog or command.epilog or ""), each.name
    for each in (command, *below):
        names = {option for parameter in each.params for option in parameter.opts}
        assert ("--key" in names) == ("--address" in names), each.name


def test_to_list_the_words_nothing_heavy_is_loaded() -> None:
    program = f"import sys, rag.cli.app; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_shell_can_complete_words_and_options() -> None:
    program = "from rag.cli.app import main; main()"
    for typed, expected in (("ragmesh se", "search"), ("ragmesh search --mo", "--mode")):
        environment = {"_RAGMESH_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.argv[0] = 'ragmesh'; {program}"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert expected in done.stdout.split(), done.stderr
