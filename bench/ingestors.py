"""A tree whose embedder and ingestors tell their metrics, with as many ingestor processes as asked for."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from rag.cli.own_services import free_ports
from rag.runtime.probe import check
from tests.system.processes import ROOT, START_LIMIT_S, STOP_LIMIT_S, Tree, running_tree


@dataclass(frozen=True, slots=True)
class Workshop:
    """The running tree, where its metrics are, and the processes to watch by the name of their root."""

    tree: Tree
    embedder_metrics: int
    ingestor_metrics: Sequence[int]
    roots: Sequence[psutil.Process]

    def is_alive(self) -> bool:
        """Whether every root still runs."""
        return all(root.is_running() and root.status() != psutil.STATUS_ZOMBIE for root in self.roots)


@contextmanager
def running_workshop(folder: Path, processes: int) -> Iterator[Workshop]:
    """Run a tree with `processes` ingestors on one Redis for the length of a block."""
    embedder_metrics, *ingestor_metrics = free_ports(processes + 1)
    with ExitStack() as stack:
        tree = stack.enter_context(
            running_tree(
                folder,
                EMBEDDER_METRICS_PORT=str(embedder_metrics),
                INGESTOR_METRICS_PORT=str(ingestor_metrics[0]),
            )
        )
        more = [stack.enter_context(_one_more(tree, port)) for port in ingestor_metrics[1:]]
        roots = [psutil.Process(pid) for pid in (tree.process.pid, *more)]
        yield Workshop(tree, embedder_metrics, ingestor_metrics, roots)


@contextmanager
def _one_more(tree: Tree, metrics_port: int) -> Iterator[int]:
    """One more ingestor process, set up like the tree's own."""
    (port,) = free_ports(1)
    own = psutil.Process(tree.pid_of("ingestor")).environ()
    environment = {**own, "INGESTOR_PORT": str(port), "INGESTOR_METRICS_PORT": str(metrics_port)}
    with tree.log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.ingestor"], cwd=ROOT, env=environment, stdout=output, stderr=output
        )
    try:
        end = time.monotonic() + START_LIMIT_S
        while check(f"127.0.0.1:{port}", "", 1.0) != "SERVING":
            assert process.poll() is None, "the ingestor died"
            assert time.monotonic() < end, "the ingestor is not SERVING"
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
