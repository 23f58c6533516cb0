"""The words of the `ragmesh` command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from rag.cli import eval as evaluating
from rag.cli import index, jobs
from rag.cli.backup import backup, restore
from rag.cli.demo import EXAMPLES, QUESTION, run_demo
from rag.cli.docs import delete, docs
from rag.cli.ingest import ingest
from rag.cli.show import show_answer
from rag.cli.sync import sync
from rag.cli.terminal import DEFAULT_ADDRESS, Address, examples, out, run
from rag.client import RagClient

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False)
app.command(
    epilog=examples(
        "ingest report.pdf notes.md",
        "ingest handbook/ 'docs/**/*.md' --metadata team=ops --metadata year=2026",
        'ingest contract.pdf --title "The contract" --document-id contract --password -',
        "ingest archive/ --json | jq -r 'select(.reason) | .file'",
    )
)(ingest)
app.command(
    epilog=examples(
        "sync handbook/ --dry-run",
        "sync /srv/handbook --name handbook",
        "sync /srv/handbook --name handbook --max-deletes 0   (never deletes)",
    )
)(sync)
app.add_typer(jobs.app, name="jobs")
app.add_typer(index.app, name="index")
app.add_typer(evaluating.app, name="eval")
app.command(epilog=examples("cancel job_0123"))(jobs.cancel)
app.command(epilog=examples("retry --dead", "retry job_0123 --password -"))(jobs.retry)
app.command(epilog=examples("docs --limit 1000 --json | jq -r .document_id"))(docs)
app.command(epilog=examples("delete doc_0123 doc_4567"))(delete)
app.command(
    epilog=examples(
        "backup /backups/monday",
        "backup --verify /backups/monday",
        "backup /backups/monday --data-dir /srv/ragmesh --json | jq .bytes",
    )
)(backup)
app.command(epilog=examples("restore /backups/monday", "restore /backups/monday --data-dir /srv/ragmesh --force"))(
    restore
)


@app.callback()
def ragmesh() -> None:
    """Give ragmesh documents, ask it questions, and check every citation of its answers."""


@app.command(epilog="Example: ragmesh up")
def up() -> None:
    """Run the five services and a Redis until Ctrl-C."""
    # The same process group, so that Ctrl-C reaches the tree; its exit code becomes ours.
    process = subprocess.Popen([sys.executable, "-m", "services"])
    while True:
        try:
            raise typer.Exit(process.wait())
        except KeyboardInterrupt:
            continue  # the tree heard it too and is stopping


@app.command(epilog='Example: ragmesh demo --doc report.pdf --question "What does it conclude?"')
def demo(
    doc: Annotated[list[Path] | None, typer.Option(exists=True, dir_okay=False, help="A file of your own.")] = None,
    question: Annotated[str, typer.Option(help="What to ask.")] = QUESTION,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Start everything, ingest the examples, answer a question with citations, and stop."""
    run(run_demo(out, address, doc or list(EXAMPLES), question))


@app.command(epilog='Example: ragmesh ask "How long does a worker keep its lease?"')
def ask(question: str, address: Address = DEFAULT_ADDRESS) -> None:
    """Ask a question and stream the answer with its citations."""
    run(_ask(question, address))


async def _ask(question: str, address: str) -> int:
    async with RagClient(address) as rag:
        return await show_answer(out, rag, question)


def main() -> None:
    """Run the command line."""
    app()
