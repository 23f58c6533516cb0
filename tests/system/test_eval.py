"""`ragmesh eval` as people run it, with the real services and the datasets that come with ragmesh."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.system.processes import ROOT, Tree

DATASETS = ROOT / "examples" / "eval"
LIMIT_S = 115


def ragmesh(*arguments: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rag.cli", "eval", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **settings}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


def test_running_services_are_evaluated_and_two_runs_compared(tree: Tree, tmp_path: Path) -> None:
    addresses = {f"{name.upper()}_ADDRESS": f"127.0.0.1:{tree.ports[name]}" for name in ("retriever", "ingestor")}
    dataset = str(DATASETS / "handbook")
    options = ["--running", "--modes", "hybrid,keyword", "--concurrency", "2"]
    first = ragmesh(dataset, *options, "--out", "first.json", "--label", "first", folder=tmp_path, **addresses)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "42 questions, 63 documents" in first.stdout
    assert "queries/s" in first.stdout
    record = json.loads((tmp_path / "first.json").read_text())
    assert record["filled"]["failed"] == {}
    hybrid = record["modes"]["hybrid"]
    assert len(hybrid["questions"]) == 42
    assert hybrid["figures"]["ndcg_at_10"] > 0.5
    assert hybrid["timing"]["p50_ms"] > 0

    again = ragmesh(
        dataset, *options, "--no-timing", "--out", "again.json", "--json", "--plot", folder=tmp_path, **addresses
    )
    assert again.returncode == 0, again.stdout + again.stderr
    second = json.loads(again.stdout)
    assert second["filled"]["unchanged"] == 63
    assert second["modes"]["keyword"]["figures"] == record["modes"]["keyword"]["figures"]
    assert (tmp_path / "again.png").read_bytes().startswith(b"\x89PNG")

    compared = ragmesh("compare", "first.json:keyword", "again.json:keyword", "--json", folder=tmp_path)
    assert compared.returncode == 0, compared.stderr
    assert json.loads(compared.stdout)["differences"]["ndcg_at_10"]["p_value"] == 1


def test_services_of_its_own_evaluate_how_documents_are_cut(folder: Path, models: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / ".models").symlink_to(models, target_is_directory=True)
    # The stores of whoever runs this must stay untouched: a Redis that nobody can reach shows that they are.
    (folder / ".env").write_text("REDIS_URL=redis://127.0.0.1:1/0\n")
    options = ["--data", "data", "--modes", "keyword", "--no-timing", "--out", "run.json", "--name", "cut"]
    done = ragmesh(
        str(DATASETS / "handbook-spans"),
        *options,
        folder=folder,
        INGESTOR_PASSAGE_TOKENS="120",
        REDIS_URL="redis://127.0.0.1:1/0",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "IoU" in done.stdout
    record = json.loads((folder / "run.json").read_text())
    assert (record["kind"], record["filled"]["documents"], record["top_k"]) == ("spans", 3, 5)
    assert record["modes"]["keyword"]["figures"]["token_recall"] > 0.5


def test_what_cannot_be_evaluated_is_said(tmp_path: Path) -> None:
    missing = ragmesh("nowhere", folder=tmp_path)
    assert missing.returncode == 1
    assert "NO_DATASET" in missing.stderr
    away = {"RETRIEVER_ADDRESS": "127.0.0.1:1", "INGESTOR_ADDRESS": "127.0.0.1:1"}
    nobody = ragmesh(str(DATASETS / "handbook"), "--running", folder=tmp_path, **away)
    assert nobody.returncode == 3
    assert "NOT_SERVING" in nobody.stderr
    assert ragmesh(str(DATASETS / "handbook"), "--modes", "magic", folder=tmp_path).returncode == 2
    assert "compare" in ragmesh("--help", folder=tmp_path).stdout
