"""`make eval-cache`: how many paraphrases share an answer, and how many questions that only look alike do.

The threshold is chosen on one set of labelled pairs and reported on another, which was written after the guards.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import math
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.report import ROOT, finish, show, surroundings
from services.embedder.adapters.onnx_model import OnnxModel
from services.embedder.settings import EmbedderSettings
from services.generator.caching.guards.objections import Objection, objection
from services.generator.settings import GeneratorSettings

QUESTIONS = ROOT / "examples" / "eval" / "questions"
THRESHOLDS = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
MOST_FALSE, LEAST_HITS = 0.01, 0.4
_KEPT = 0.95
"""Of the hits at the lowest threshold: what the chosen one must keep."""
_Z = 1.96


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """Two questions, whether one answer fits both, and what was found out about them."""

    kind: str
    is_same: bool
    similarity: float
    objection: Objection | None

    def shares(self, threshold: float, *, guarded: bool) -> bool:
        """Tell whether the second would get the answer to the first."""
        return self.similarity >= threshold and not (guarded and self.objection)


def main() -> None:
    """Measure, print the tables, exit: 1 when too many near-misses share an answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tuning", type=Path, default=QUESTIONS / "pairs.jsonl")
    parser.add_argument("--report", type=Path, default=QUESTIONS / "report.jsonl")
    parser.add_argument(
        "--tune", action="store_true", help="leave the report set alone, as one must while changing guards"
    )
    arguments = parser.parse_args()
    paths = {"tuning": arguments.tuning} | ({} if arguments.tune else {"report": arguments.report})
    sets = asyncio.run(measured({name: _read(path) for name, path in paths.items()}))
    chosen = choose(sets["tuning"])
    machine = surroundings()["machine"]
    print(f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}")
    print(
        f"chosen on the tuning set: {chosen}; the default: {GeneratorSettings.model_fields['semantic_threshold'].default}"
    )
    kinds = {name: by_kind(pairs, chosen) for name, pairs in sets.items()}
    for name, of in kinds.items():
        show(f"answer cache: the {name} set by kind, at the chosen threshold", of)
    rows = [
        row(name, pairs, threshold, guarded=guarded)
        for name, pairs in sets.items()
        for guarded in (False, True)
        for threshold in THRESHOLDS
    ]
    counts = list(sets)[-1]
    goals = reached(sets[counts], chosen)
    print(f"goals, on the {counts} set: {goals}")
    unsafe = not goals["false hits below 1 %"]
    finish("answer-cache-alike", rows, failed=unsafe, chosen=chosen, goals=goals, by_kind=kinds)


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def reached(pairs: Sequence[Pair], threshold: float) -> dict[str, bool]:
    """Tell which goals are reached."""
    paraphrases, others = _parted(pairs)
    return {
        "hits at least 40 %": _shared(paraphrases, threshold, guarded=True) >= LEAST_HITS * len(paraphrases),
        "false hits below 1 %": _shared(others, threshold, guarded=True) < MOST_FALSE * len(others),
    }


async def measured(sets: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[Pair]]:
    """Return the sets of pairs with their similarity by the local model, as it serves, and the guards' objection."""
    texts = sorted({line[side] for lines in sets.values() for line in lines for side in ("a", "b")})
    settings = EmbedderSettings()
    with tempfile.TemporaryDirectory(prefix="rag") as folder:
        async with OnnxModel.open(Path(folder), settings.threads, settings.precision) as model:
            # One at a time, as questions come.
            vectors = {text: (await model.encode(await model.prepare([text]))).vectors[0] for text in texts}
    return {
        name: [
            Pair(
                line["kind"],
                line["same"],
                float(vectors[line["a"]] @ vectors[line["b"]]),
                objection(line["a"], line["b"]),
            )
            for line in lines
        ]
        for name, lines in sets.items()
    }


def choose(pairs: Sequence[Pair]) -> float:
    """Return the highest threshold with almost all the hits that the guards leave, if it is strict enough on the others."""
    paraphrases, others = _parted(pairs)
    most = _shared(paraphrases, THRESHOLDS[0], guarded=True)
    return max(
        (
            threshold
            for threshold in THRESHOLDS
            if _shared(paraphrases, threshold, guarded=True) >= _KEPT * most
            if _shared(others, threshold, guarded=True) < MOST_FALSE * len(others)
        ),
        default=THRESHOLDS[-1],
    )


def row(name: str, pairs: Sequence[Pair], threshold: float, *, guarded: bool) -> dict[str, Any]:
    """Return the figures of one set at one threshold."""
    paraphrases, others = _parted(pairs)
    hits, false = _shared(paraphrases, threshold, guarded=guarded), _shared(others, threshold, guarded=guarded)
    return {
        "set": name,
        "guards": "yes" if guarded else "no",
        "threshold": f"{threshold:.2f}",
        "hits": f"{hits} of {len(paraphrases)}",
        "hits % (95 %)": _percent(hits, len(paraphrases)),
        "false hits": f"{false} of {len(others)}",
        "false % (95 %)": _percent(false, len(others)),
    }


def by_kind(pairs: Sequence[Pair], threshold: float) -> list[dict[str, Any]]:
    """Return for each kind of pair how many share an answer, without the guards and with them, and why others do not."""
    kinds = sorted({(not pair.is_same, pair.kind) for pair in pairs})
    rows = []
    for is_near_miss, kind in kinds:
        of = [pair for pair in pairs if pair.kind == kind and pair.is_same is not is_near_miss]
        guarded = _shared(of, threshold, guarded=True)
        rows.append(
            {
                "pairs": "near-miss" if is_near_miss else "paraphrase",
                "kind": kind,
                "unguarded": f"{_shared(of, threshold, guarded=False)} of {len(of)}",
                "share": f"{guarded} of {len(of)}",
                "share % (95 %)": _percent(guarded, len(of)),
                "objections": _counted(of),
            }
        )
    return rows


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Return the interval that holds the true share with 95 % confidence, each 0 to 1."""
    if not count:
        return 0.0, 1.0
    share, square = hits / count, _Z**2 / count
    middle = share + square / 2
    width = _Z * math.sqrt(share * (1 - share) / count + square / (4 * count))
    return max(0.0, (middle - width) / (1 + square)), min(1.0, (middle + width) / (1 + square))


def _percent(hits: int, count: int) -> str:
    low, high = wilson(hits, count)
    return f"{100 * hits / max(count, 1):.1f} ({100 * low:.1f} - {100 * high:.1f})"


def _parted(pairs: Sequence[Pair]) -> tuple[list[Pair], list[Pair]]:
    return [pair for pair in pairs if pair.is_same], [pair for pair in pairs if not pair.is_same]


def _shared(pairs: Sequence[Pair], threshold: float, *, guarded: bool) -> int:
    return sum(pair.shares(threshold, guarded=guarded) for pair in pairs)


def _counted(pairs: Iterable[Pair]) -> str:
    counts = Counter(pair.objection.value for pair in pairs if pair.objection)
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())


if __name__ == "__main__":
    main()
