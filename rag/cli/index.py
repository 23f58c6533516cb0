"""`ragmesh index`: the words for operators of an index."""

from __future__ import annotations

import typer

from rag.cli.index_files import export, import_
from rag.cli.index_rebuild import cancel, rebuild, rollback, show
from rag.cli.terminal import examples

app = typer.Typer(no_args_is_help=True, help="Look after the index.")
app.command(epilog=examples("index show", "index show --json | jq .live.rows"))(show)
app.command(
    epilog=examples(
        "index rebuild",
        "index rebuild --analyzer plain --dry-run",
        "index rebuild --resplit --labelled queries.jsonl --min-overlap 0.5",
    )
)(rebuild)
app.command(epilog=examples("index rollback"))(rollback)
app.command(epilog=examples("index cancel"))(cancel)
app.command(
    "export",
    epilog=examples("index export /backups/index --all-tenants", "index export /backups/index --tenant default"),
)(export)
app.command(
    "import",
    epilog=examples("index import /backups/index", "index import /backups/index --retriever milvus-host:50052"),
)(import_)
