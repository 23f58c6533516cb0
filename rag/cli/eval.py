"""`ragmesh eval`: how good the retrieval is, measured with a labelled dataset; and how two such measurements differ."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from rag.cli.terminal import DEFAULT_ADDRESS, Address, examples, run

RESULTS = Path("results/eval")
MODES = ("hybrid", "dense", "keyword")
_FORMS = "A folder in BEIR form (corpus.jsonl, queries.jsonl, qrels/test.tsv), or with questions_df.csv and corpora/."


class _RunUnlessNamed(TyperGroup):
    """`ragmesh eval DATASET` is `ragmesh eval run DATASET`: what is no command is a dataset."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command before a dataset or its options."""
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_RunUnlessNamed,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Measure retrieval with labelled questions. `ragmesh eval DATASET` is `ragmesh eval run DATASET`.",
    epilog=examples(
        "eval examples/eval/handbook --plot",
        "eval run --help",
        "eval compare before.json after.json",
        "eval plot results/eval/handbook-*.json --out handbook.png",
        "eval export-feedback cases",
    ),
)


@app.command(
    name="run",
    epilog=examples(
        "eval examples/eval/handbook",
        "eval datasets/scifact --split train --modes hybrid --no-timing --label stems",
        "eval datasets/chunking-eval --top-k 5   (how well are documents cut with this INGESTOR_PASSAGE_TOKENS?)",
        "eval datasets/scifact --running --json | jq .modes.hybrid.figures",
    ),
)
def run_dataset(
    dataset: Annotated[Path, typer.Argument(help=_FORMS, metavar="DATASET")],
    *,
    split: Annotated[str, typer.Option(help="Which qrels: the file qrels/SPLIT.tsv.")] = "test",
    modes: Annotated[str, typer.Option(help="Which legs, with commas between.")] = ",".join(MODES),
    top_k: Annotated[
        int, typer.Option(min=0, max=100, help="Passages asked for to be judged; 0: 100, or 5 for excerpts.")
    ] = 0,
    limit_queries: Annotated[int, typer.Option(min=0, help="Only the first so many questions; 0 for all.")] = 0,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Callers at once when queries/s are measured.")] = 8,
    timing: Annotated[bool, typer.Option(help="Measure latency and queries/s too.")] = True,
    ingest: Annotated[bool, typer.Option(help="Ingest first; without, the documents must be there already.")] = True,
    running: Annotated[
        bool, typer.Option("--running", help="Use the services at RETRIEVER_ADDRESS and INGESTOR_ADDRESS.")
    ] = False,
    name: Annotated[str, typer.Option(help="The dataset's name; the folder's when not given.")] = "",
    label: Annotated[str, typer.Option(help="What is special about this run, for comparisons.")] = "",
    data: Annotated[Path, typer.Option(help="Where services of our own keep what was ingested.")] = RESULTS / "data",
    target: Annotated[Path | None, typer.Option("--out", help="The JSON file to write.", metavar="FILE")] = None,
    plot: Annotated[bool, typer.Option("--plot", help="Also draw this run beside earlier ones, as PNG.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole record as one line of JSON.")] = False,
) -> None:
    """Ingest a dataset under a tenant of its own, ask its questions, and tell how good and how fast the answers are.

    The services are started for this and keep what was ingested, so that a second run finds it there. The record is written to
    results/eval. Exit code 0 when all documents could be ingested and no answer was degraded, else 1.
    """
    from rag.cli.eval_running import Wanted, dataset_name, evaluate_dataset
    from rag.eval.evaluation import Plan

    plan = Plan(
        name=dataset_name(name or dataset.resolve().name),
        split=split,
        label=label,
        modes=_modes(modes),
        top_k=top_k,
        callers=concurrency,
        timed=timing,
        ingest=ingest,
    )
    record = target or RESULTS / f"{plan.name}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    wanted = Wanted(dataset, record, None if running else data, limit_queries, plot=plot, as_json=as_json)
    run(evaluate_dataset(wanted, plan))


@app.command(epilog=examples("eval compare before.json after.json", "eval compare run.json:dense run.json:hybrid"))
def compare(
    first: Annotated[str, typer.Argument(metavar="RUN1[:MODE]", help="The record of a run.")],
    second: Annotated[str, typer.Argument(metavar="RUN2[:MODE]", help="Another, of the same dataset.")],
    *,
    metric: Annotated[str, typer.Option(help="The figure by which the questions are listed.")] = "",
    show: Annotated[int, typer.Option(min=0, help="How many of the questions that changed most are listed.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON.")] = False,
) -> None:
    """Compare two runs question by question: is the difference more than luck? Without a MODE, hybrid is compared."""
    from rag.cli.eval_running import compare_records

    run(compare_records(first, second, metric, show, as_json=as_json))


@app.command(epilog=examples("eval plot results/eval/scifact-*.json --out scifact.png"))
def plot(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Records of runs of one dataset.")],
    target: Annotated[Path, typer.Option("--out", help="The PNG file to write.", metavar="FILE")] = Path("eval.png"),
) -> None:
    """Draw runs side by side."""
    from rag.cli.eval_running import plot_records

    run(plot_records(runs, target))


@app.command(
    name="export-feedback",
    epilog=examples(
        "eval export-feedback cases", "eval export-feedback cases --most-documents 200   (then: eval cases)"
    ),
)
def export_feedback(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to; new, or empty.", file_okay=False)],
    *,
    most_documents: Annotated[
        int, typer.Option(min=0, help="The most documents to look among; those that were cited are all there.")
    ] = 1_000,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Turn thumbs down into a dataset: the questions, documents, and as what should be found those that the answers cited.

    Needs the scope `admin`. The comments are in queries.jsonl; correct qrels/test.tsv by hand where another document is right.
    """
    from rag.cli.eval_feedback import export

    run(export(folder, most_documents, address))


def _modes(text: str) -> list[str]:
    chosen = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not chosen or set(chosen) - set(MODES):
        raise typer.BadParameter(f"--modes is one or more of {', '.join(MODES)}.")
    return chosen
