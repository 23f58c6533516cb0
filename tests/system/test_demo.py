"""`ragmesh demo` as a new user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from rag.cli.own_services import free_ports
from tests.system.processes import ROOT, SERVICES


def test_the_demo_answers_from_a_file_of_the_users_own(folder: Path, models: Path) -> None:
    note = folder / "note.txt"
    note.write_text("The harbour of Eastport closes at nine in the evening. The ferry leaves at six.")
    (folder / "data").mkdir()
    (folder / "data" / "models").symlink_to(models, target_is_directory=True)
    ports = free_ports(len(SERVICES) + 1)
    environment = {
        **os.environ,
        **{f"{name.upper()}_PORT": str(port) for name, port in zip(SERVICES, ports, strict=False)},
        **{f"{name.upper()}_METRICS_PORT": "0" for name in SERVICES},
        "GATEWAY_HTTP_PORT": str(ports[-1]),
        "GATEWAY_ADDRESS": f"127.0.0.1:{ports[SERVICES.index('gateway')]}",
        "RAG_DATA_DIR": str(folder / "data"),
        "COLUMNS": "160",
    }
    command = [
        sys.executable,
        "-m",
        "rag.cli",
        "demo",
        "--doc",
        str(note),
        "--question",
        "When does the harbour close?",
    ]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nine in the evening" in done.stdout
    assert "quoted sentence" in done.stdout
    assert "all services stopped" in done.stdout
