"""What the words of `ragmesh eval` do: start services when needed, evaluate, write, show."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from rag.cli.eval_views import Bars, show_comparison, show_run
from rag.cli.own_services import private, started
from rag.cli.terminal import err, out, say_error
from rag.eval.comparison import Side, compare
from rag.eval.evaluation import Plan, evaluate, read_dataset, reports_of
from rag.eval.mesh import MODES, Mesh, open_mesh
from rag.eval.plot import MOST_RUNS, check_plots, plot
from rag.eval.runs import Run, earlier_runs, read_run, write_run
from rag.runtime.errors import RagError, Unavailable
from rag.runtime.mesh import Mesh as Signer
from rag.runtime.settings import ServiceSettings, load

_MAX_NAME = 48


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is evaluated, and what is to come of it."""

    folder: Path
    record: Path
    data: Path | None
    """Where services of our own keep their data; None for those that run."""
    most_questions: int
    plot: bool
    as_json: bool


def dataset_name(text: str) -> str:
    """Return a name that fits into a tenant, a metric and a file's name."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")[:_MAX_NAME] or "dataset"


async def evaluate_dataset(wanted: Wanted, plan: Plan) -> int:
    """Evaluate, write the record, show it; return the exit code."""
    if wanted.plot:
        check_plots()
    dataset = read_dataset(wanted.folder, plan.split, wanted.most_questions)
    async with _services(plan.name, wanted.data) as mesh:
        with Bars(err) as view:
            done = await evaluate(mesh, dataset, plan, view)
        write_run(done, wanted.record)
        await _report(mesh, done)
    if wanted.as_json:
        out.print(Text(json.dumps(asdict(done))), soft_wrap=True)
    else:
        show_run(out, done)
    _say(f"record: {wanted.record}")
    if wanted.plot:
        picture = wanted.record.with_suffix(".png")
        plot([*earlier_runs(wanted.record.parent, done, MOST_RUNS - 1), done], picture)
        _say(f"plot: {picture}")
    degraded = any(mode.notices for mode in done.modes.values())
    return 1 if done.filled["failed"] or degraded else 0


async def compare_records(first: str, second: str, metric: str, most_changed: int, *, as_json: bool) -> int:
    """Compare two records, each `FILE` or `FILE:MODE`."""
    comparison = compare(_side(first), _side(second), metric, most_changed)
    if as_json:
        out.print(Text(json.dumps(asdict(comparison))), soft_wrap=True)
    else:
        show_comparison(out, comparison)
    return 0


async def plot_records(paths: Sequence[Path], target: Path) -> int:
    """Draw records, the oldest first."""
    plot(sorted((read_run(path) for path in paths), key=lambda one: one.at), target)
    _say(f"plot: {target}")
    return 0


@asynccontextmanager
async def _services(name: str, data: Path | None) -> AsyncIterator[Mesh]:
    """The services that run, or some of our own whose data is kept for the next run."""
    settings = load(ServiceSettings)
    signer = Signer.of(settings)
    async with AsyncExitStack() as stack:
        if data is None:
            addresses = settings.retriever_address, settings.ingestor_address
            mesh = await stack.enter_async_context(open_mesh(*addresses, f"eval-{name}", signer))
            if not await mesh.is_serving():
                message = f"No retriever and ingestor are serving at {' and '.join(addresses)}."
                raise Unavailable(message, "NOT_SERVING")
        else:
            own = private(data / name, data / ".models")
            mesh = await stack.enter_async_context(
                open_mesh(own.address("retriever"), own.address("ingestor"), f"eval-{name}", signer)
            )
            # What is started is told to people who look on, and to nobody else.
            console = err if err.is_terminal else Console(stderr=True, quiet=True)
            await stack.enter_async_context(started(console, own.folder / "eval.log", mesh.is_serving, own))
        yield mesh


async def _report(mesh: Mesh, done: Run) -> None:
    """Have the figures exported as metrics. The record is written by now, so a refusal is told and costs nothing."""
    try:
        for request in reports_of(done):
            await mesh.report(request)
    except RagError as error:
        say_error(error, "the figures are not exported as metrics")


def _side(text: str) -> Side:
    path, colon, mode = text.rpartition(":")
    return Side(read_run(Path(path)), mode) if colon and mode in MODES else Side(read_run(Path(text)), "hybrid")


def _say(text: str) -> None:
    err.print(Text(text), soft_wrap=True)
