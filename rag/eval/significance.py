"""Whether the difference of two runs is more than luck: paired by question, without assuming how the figures are spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from rag.runtime.errors import InvalidInput

ROUNDS = 10_000
_BLOCK = 500
_SEED = 20_261_121
_TIE = 1e-12


@dataclass(frozen=True, slots=True)
class Difference:
    """The second run minus the first."""

    first: float
    second: float
    mean: float
    low: float
    """With `high`, the interval that holds the true mean difference with 95 % confidence (bootstrap)."""
    high: float
    p_value: float
    """How often a difference at least as large comes from pure luck (randomisation test, two sides)."""
    better: int
    worse: int
    same: int


def difference(
    first: Sequence[float], second: Sequence[float], *, rounds: int = ROUNDS, seed: int = _SEED
) -> Difference:
    """Compare the figures of the same questions in two runs, in one order.

    Args:
        first: The figures in the first run.
        second: The figures in the second run.
        rounds: How many random samples; fewer questions than that has ways of signs are worked out exactly.
        seed: The same figures give the same answer.

    Raises:
        InvalidInput: NOTHING_TO_COMPARE.
    """
    if not first or len(first) != len(second):
        raise InvalidInput("The two runs have no questions in common.", "NOTHING_TO_COMPARE")
    gains = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    random = np.random.default_rng(seed)
    low, high = _interval(gains, rounds, random)
    return Difference(
        first=float(np.mean(first)),
        second=float(np.mean(second)),
        mean=float(gains.mean()),
        low=low,
        high=high,
        p_value=_p_value(gains, rounds, random),
        better=int((gains > _TIE).sum()),
        worse=int((gains < -_TIE).sum()),
        same=int((abs(gains) <= _TIE).sum()),
    )


def _p_value(gains: np.ndarray, rounds: int, random: np.random.Generator) -> float:
    # If the runs did not differ, each gain could as well have the other sign. Questions without one say nothing.
    moved = gains[abs(gains) > _TIE]
    if not len(moved):
        return 1.0
    seen = abs(moved.sum()) - _TIE
    if 2 ** len(moved) <= rounds:
        signs = np.array(list(product((1, -1), repeat=len(moved))), dtype=np.float64)
        return float((abs(signs @ moved) >= seen).mean())
    extreme = 0
    for size in _blocks(rounds):
        signs = random.choice((1.0, -1.0), size=(size, len(moved)))
        extreme += int((abs(signs @ moved) >= seen).sum())
    return (extreme + 1) / (rounds + 1)  # what was seen is one of the ways, too


def _interval(gains: np.ndarray, rounds: int, random: np.random.Generator) -> tuple[float, float]:
    means = np.concatenate(
        [gains[random.integers(0, len(gains), (size, len(gains)))].mean(axis=1) for size in _blocks(rounds)]
    )
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def _blocks(rounds: int) -> list[int]:
    """The rounds in blocks that need little memory."""
    return [min(_BLOCK, rounds - done) for done in range(0, rounds, _BLOCK)]
