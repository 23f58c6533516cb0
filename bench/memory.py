"""Resident memory of every process of a tree, sampled while something runs."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import psutil

SAMPLE_S = 0.1


def resident(root: psutil.Process) -> dict[str, int]:
    """Return the resident bytes of each process of a tree, by name; several of one name are added up."""
    found: dict[str, int] = defaultdict(int)
    for name, size in each_resident(root):
        found[name] += size
    return dict(found)


def each_resident(root: psutil.Process) -> Iterator[tuple[str, int]]:
    """Yield name and resident bytes of each process of a tree."""
    for process in [root, *root.children(recursive=True)]:
        try:
            yield _name(process), process.memory_info().rss
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue


class PeakMemory:
    """Samples the tree in a thread for the length of a block.

    `peak` holds the largest bytes seen of each name, `largest` those of one process of the name.
    """

    def __init__(self, root: psutil.Process) -> None:
        self._root = root
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self.peak: dict[str, int] = {}
        self.largest: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            sums: dict[str, int] = defaultdict(int)
            for name, size in each_resident(self._root):
                sums[name] += size
                self.largest[name] = max(self.largest.get(name, 0), size)
            for name, size in sums.items():
                self.peak[name] = max(self.peak.get(name, 0), size)


def _name(process: psutil.Process) -> str:
    words = process.cmdline()
    for word in words:
        if word.startswith("services.") and word != "services":
            return word.removeprefix("services.")
    if "services" in words:
        return "tree"
    return process.name()
