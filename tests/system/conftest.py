"""One process tree for all system tests, and one built model for all trees."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.processes import Tree, running_tree


@pytest.fixture(scope="session")
def models() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rag") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def tree(models: Path) -> Iterator[Tree]:
    with tempfile.TemporaryDirectory(prefix="rag") as folder, running_tree(Path(folder), models) as running:
        yield running


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not pytest's own: the socket of the embedded Redis needs a short path.
    with tempfile.TemporaryDirectory(prefix="rag") as short:
        yield Path(short)
