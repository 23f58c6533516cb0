"""The examples of docs/guides/client.md are run as they stand, in their order."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.system.processes import ROOT, Tree

GUIDE = (ROOT / "docs" / "guides" / "client.md").read_text()
EXAMPLES = {
    section.partition("\n")[0]: code
    for section in re.split(r"^## ", GUIDE, flags=re.MULTILINE)[1:]
    for code in re.findall(r"```python\n(.*?)```", section, re.DOTALL)
}
PRINTS = {
    "Connect": "True",
    "Add a document": "searchable",
    "Ask": "nine in the evening",
    "Search": "harbour",
    "List and delete": "DOCUMENT_NOT_FOUND",
}


def test_every_example_is_run() -> None:
    assert GUIDE.count("```python") == len(EXAMPLES)
    assert list(EXAMPLES) == list(PRINTS)


@pytest.mark.timeout(300)
def test_the_examples_do_what_the_guide_says(tree: Tree) -> None:
    for heading, code in EXAMPLES.items():
        program = f"import asyncio\n{code}\nasyncio.run(main({tree.address!r}, ''))"
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=90, check=False
        )
        assert done.returncode == 0, f"{heading}: {done.stderr}"
        assert PRINTS[heading] in done.stdout, heading
