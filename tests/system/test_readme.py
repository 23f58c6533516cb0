"""The README's examples are run as they stand, against services on other ports."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

from tests.system.processes import ROOT, Tree

README = (ROOT / "README.md").read_text()


def block(language: str, beginning: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    (found,) = [each for each in blocks if each.startswith(beginning)]
    return str(found)


def moved(text: str, tree: Tree) -> str:
    return text.replace("http://127.0.0.1:8080", tree.url).replace("127.0.0.1:50050", tree.address)


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_the_curl_example_streams_an_answer(tree: Tree) -> None:
    script = moved(block("sh", "curl"), tree)
    done = subprocess.run(["bash", "-euc", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert "event: accepted" in done.stdout
    assert done.stdout.rstrip().splitlines()[-1].startswith("data: ")
    assert "event: done" in done.stdout


def test_the_python_example_prints_a_cited_answer(tree: Tree) -> None:
    script = moved(block("python", "import asyncio"), tree)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=90, check=True
    )
    assert re.search(r"<page \d+: [^>]+>", done.stdout)  # a sentence of a PDF may hold line breaks


def test_every_word_of_make_that_it_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for word in set(re.findall(r"\bmake ([a-z-]+)", README)):
        assert re.search(rf"^{word}:", makefile, re.MULTILINE), word


def test_every_file_that_it_links_exists() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert link.startswith("http") or (ROOT / link).exists(), link
