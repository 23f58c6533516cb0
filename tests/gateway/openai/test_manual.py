"""The examples in docs/api/openai.md run."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from io import StringIO
from pathlib import Path

from rag.v1 import embedder_pb2 as pb
from tests.gateway.openai.cited import cited

MANUAL = (Path(__file__).resolve().parents[3] / "docs" / "api" / "openai.md").read_text("utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", MANUAL, re.DOTALL)


async def test_the_examples_run_as_they_are_printed(gateway):
    gateway.backends.generator.stage.script = cited("Add the new key", 1, ".")
    gateway.backends.embedder.model = "all-MiniLM-L6-v2"
    gateway.backends.embedder.stage.script = [
        pb.EmbedResponse(count=2, dimension=1, values=bytes(8), model="all-MiniLM-L6-v2", usage=pb.EmbedUsage(tokens=3))
    ]
    said = [await asyncio.to_thread(_run, code.replace(":8080", f":{gateway.http_port}")) for code in EXAMPLES]

    assert len(said) == 5
    assert said[0].startswith("Add the new key[1].\n[1] Title 1 http://localhost:")
    assert said[0].endswith("openai stop\n")
    assert said[1] == "Add the new key[1].77\n"
    assert said[4] == "2 3\n"


def _run(code: str) -> str:
    output = StringIO()
    names: dict[str, object] = {"print": partial(print, file=output)}  # the log of the gateway goes to stdout too
    try:
        exec(compile(code, "docs/api/openai.md", "exec"), names)
    finally:
        names["client"].close()  # the examples leave it to the end of their program
    return output.getvalue()
