"""`make bench-stream`: what a token costs on its way from the model to its reader.

Side by side in one run: the model server called directly, one FastAPI process with the openai client, and ragmesh (client,
gateway, generator, model server: each a process of its own). The model writes as fast as it is read, one word in each write.
When idle, answers are short and one at a time; what the search took, by `usage`, is taken off their first token. When paced, the
model writes as real ones do, and the times are those of a system that is not at its limit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from bench.report import finish, show
from bench.stream_plot import plot
from bench.stream_targets import direct, ragmesh, relay
from bench.streams import Level, Target, Timing, load, percentiles
from tests.doubles.fixtures import ModelServer, starting_model_server

_LEVELS = (1, 16, 64, 200)
_WORDS = 400
_IDLE_WORDS = 20
_PACED_WORDS = 100
_PACE_MS = 50.0
_SEARCH = {"embedding", "retrieval"}
_USAGE = re.compile(rb"event: usage\ndata: (\{[^\n]*\})\n\n")

Row = dict[str, Any]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--levels", type=int, nargs="+", default=_LEVELS, help="streams at a time (1 16 64 200)")
    parser.add_argument(
        "--rounds", type=int, default=2, help="how often each is measured, by turns; medians are shown (2)"
    )
    parser.add_argument("--words", type=int, default=_WORDS, help="tokens of an answer (400)")
    asyncio.run(_measure(parser.parse_args()))


async def _measure(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name, starting_model_server() as model:
        async with AsyncExitStack() as stack:
            model.script(flood=_IDLE_WORDS, times=None)
            for part in ("relay", "ragmesh"):
                (Path(name) / part).mkdir()
            targets = [
                await stack.enter_async_context(direct(model)),
                await stack.enter_async_context(relay(model, Path(name, "relay"))),
                await stack.enter_async_context(ragmesh(model, Path(name, "ragmesh"))),
            ]
            idle = await _idle(targets, options.rounds)
            show("idle: one short answer at a time", idle)
            paced = await _levels(targets, model, options, _PACED_WORDS, _PACE_MS)
            show(f"paced: a word every {_PACE_MS:.0f} ms in each stream", paced)
            rows = await _levels(targets, model, options, options.words, 0)
    finish("stream", rows, idle=idle, paced=paced, words=options.words, plot=str(plot(rows)))


async def _idle(targets: Sequence[Target], rounds: int) -> list[Row]:
    found: dict[str, list[Timing]] = {target.name: [] for target in targets}
    for number in range(rounds):
        for target in targets:
            found[target.name] += (await load(target, 1, 70, f"idle {number}")).timings[10:]
    quickest = statistics.median(timing.first_token_ms for timing in found["direct"])
    return [_idle_row(name, timings, quickest) for name, timings in found.items()]


def _idle_row(name: str, timings: Sequence[Timing], quickest: float) -> Row:
    own = [timing.first_token_ms - _search_ms(timing.body) for timing in timings]
    middle, late, latest = percentiles(own)
    return {
        "target": name,
        "answers": len(timings),
        "first event p50 ms": percentiles([timing.first_event_ms for timing in timings])[0],
        "search p50 ms": percentiles([_search_ms(timing.body) for timing in timings])[0],
        "first token p50 ms": middle,
        "p95": late,
        "p99": latest,
        "over direct ms": middle - quickest,
    }


def _search_ms(body: bytes) -> float:
    usage = _USAGE.search(body)
    stages = json.loads(usage[1])["stages"] if usage else []
    return float(sum(stage["elapsed_ms"] for stage in stages if stage["stage"] in _SEARCH))


async def _levels(
    targets: Sequence[Target], model: ModelServer, options: argparse.Namespace, words: int, pace_ms: float
) -> list[Row]:
    rows: list[Row] = []
    for streams in options.levels:
        found: dict[str, list[Level]] = {target.name: [] for target in targets}
        for number in range(options.rounds):
            for target in targets:
                model.reset()
                model.script(flood=words, delay_ms=pace_ms, times=None)
                answers = max(4 if pace_ms else 20, 2 * streams)
                spread_s = words * pace_ms / 1_000
                name = f"{streams} {pace_ms} {number}"
                found[target.name].append(await load(target, streams, answers, name, spread_s))
        rate = statistics.median(level.tokens_per_s for level in found["fastapi"])
        rows += [_row(name, streams, levels, rate) for name, levels in found.items()]
    return rows


def _row(name: str, streams: int, levels: Sequence[Level], baseline: float) -> Row:
    timings = [timing for level in levels for timing in level.timings]
    rate = statistics.median(level.tokens_per_s for level in levels)
    first_event = percentiles([timing.first_event_ms for timing in timings])
    first_token = percentiles([timing.first_token_ms for timing in timings])
    totals = percentiles([timing.total_ms for timing in timings])
    return {
        "target": name,
        "streams": streams,
        "tokens/s": rate,
        "times fastapi": rate / baseline,
        "first event p50 ms": first_event[0],
        "p95": first_event[1],
        "p99": first_event[2],
        "first token p50 ms": first_token[0],
        "p95 ": first_token[1],
        "p99 ": first_token[2],
        "slowest / median answer": max(timing.total_ms for timing in timings) / totals[0],
    }


if __name__ == "__main__":
    main()
