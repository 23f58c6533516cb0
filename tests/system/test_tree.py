"""The process tree: it stops whole, whatever ends it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.process_table import is_alive
from tests.system.processes import SERVICES, running_tree, stop
from tests.waiting import until_sync


def gone(processes: list[psutil.Process]) -> bool:
    return not any(map(is_alive, processes))


def test_one_interrupt_stops_everything(folder: Path, models: Path) -> None:
    with running_tree(folder, models) as tree:
        members = tree.members()
        assert len(members) >= 1 + len(SERVICES) + 2  # a Redis and the index engine too
        stop(tree.process)
        assert tree.process.returncode == 0
        until_sync(lambda: gone(members))
        assert "received SIGINT" in tree.log.read_text()


@pytest.mark.parametrize("victim", ["generator", "redis"])
def test_the_first_death_stops_all_and_is_named(folder: Path, models: Path, victim: str) -> None:
    with running_tree(folder, models) as tree:
        members = tree.members()
        pid = tree.pid_of(victim) if victim != "redis" else redis_pid(members)
        os.kill(pid, signal.SIGKILL)
        assert tree.process.wait(30) == 1
        until_sync(lambda: gone(members))
        assert f"stopping: {victim} ended with exit code -9" in tree.log.read_text()


def test_nobody_outlives_a_killed_parent(folder: Path, models: Path) -> None:
    with running_tree(folder, models) as tree:
        members = tree.members()
        tree.process.kill()
        tree.process.wait()
        until_sync(lambda: gone(members))


def redis_pid(members: list[psutil.Process]) -> int:
    return next(member.pid for member in members if "redis-server" in member.name() or "valkey" in member.name())
