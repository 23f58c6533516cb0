from __future__ import annotations

import json
import subprocess
import sys

import pytest

SCRIPT = """
from rag.runtime import context, logs
logs.configure("embedder", "{form}", "INFO")
log = logs.get_logger("here")
context.use(context.CallContext("req-1", "acme"))
log.info("it_happened", count=3, text="a\\nb")
log.debug("unseen")
secret = "s3cret"
try:
    raise ValueError("boom")
except ValueError as error:
    log.error("it_broke", exc_info=error)
import logging
logging.getLogger("library").warning("from a library")
"""


def lines(form: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(form=form)], capture_output=True, text=True, check=True)
    return done.stderr.splitlines()


def test_json_lines_carry_service_call_and_fields() -> None:
    first, broke, library = (json.loads(line) for line in lines("json"))
    assert (first["message"], first["level"], first["count"], first["text"]) == ("it_happened", "info", 3, "a b")
    assert (first["service"], first["module"], first["request_id"], first["tenant"]) == (
        "embedder",
        "here",
        "req-1",
        "acme",
    )
    assert "ValueError: boom" in broke["exception"]
    assert library["message"] == "from a library"


@pytest.mark.parametrize("form", ["console", "json"])
def test_tracebacks_show_no_variables(form: str) -> None:
    text = "\n".join(lines(form))
    assert "ValueError: boom" in text
    assert "s3cret" not in text
    assert "unseen" not in text
