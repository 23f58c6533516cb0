"""The words of the `ragmesh` command: what each is for, where it is, and how it is used."""

from __future__ import annotations

from dataclasses import dataclass

_ASK, _DOCUMENTS, _RUN, _OPERATE = "Ask", "Documents", "Run", "Look after"


@dataclass(frozen=True, slots=True)
class Word:
    """One command."""

    name: str
    panel: str
    place: str
    """`module:name` of its function or of its group."""
    help: str
    """The first sentence of its own help."""
    examples: tuple[str, ...] = ()
    """For a function; groups bring their own."""


WORDS = (
    Word("up", _RUN, "rag.cli.up:up", "Run the five services and a Redis until Ctrl-C.", ("up",)),
    Word(
        "demo",
        _RUN,
        "rag.cli.demo:demo",
        "Start everything, ingest the examples, answer a question with citations, and stop.",
        ("demo", 'demo --doc report.pdf --question "What does it conclude?"'),
    ),
    Word(
        "doctor",
        _RUN,
        "rag.cli.doctor:doctor",
        "Look for what is wrong with an installation, and say what to do about it.",
        ("doctor", "doctor --json | jq -r 'select(.state == \"wrong\") | .advice'"),
    ),
    Word(
        "ask",
        _ASK,
        "rag.cli.ask:ask",
        "Ask a question and stream the answer with its citations.",
        (
            'ask "How long does a worker keep its lease?"',
            'ask "What changed?" --document handbook --where year=2026 --top-k 12',
            'ask "Who signs?" --no-stream > answer.txt',
            'ask "Who signs?" --json | jq -j \'select(.event == "token") | .data.text\'',
            "ask - < question.txt",
        ),
    ),
    Word(
        "chat",
        _ASK,
        "rag.cli.chat:chat",
        "Talk with your documents: each question is understood by those before it.",
        ("chat", "chat --document handbook"),
    ),
    Word(
        "search",
        _ASK,
        "rag.cli.search:search",
        "Find passages, with the scores of both legs.",
        (
            'search "rotate keys"',
            'search "rotate keys" --mode keyword --top-k 20',
            "search \"rotate keys\" --json | jq -r '.passage.document_id'",
        ),
    ),
    Word(
        "feedback",
        _ASK,
        "rag.cli.feedback:feedback",
        "Say whether an answer was any good.",
        ("feedback ans_0123 up", 'feedback ans_0123 down --comment "It quotes last year\'s price."'),
    ),
    Word(
        "ingest",
        _DOCUMENTS,
        "rag.cli.ingest:ingest",
        "Send files and watch them become searchable.",
        (
            "ingest report.pdf notes.md",
            "ingest handbook/ 'docs/**/*.md' --metadata team=ops --metadata year=2026",
            'ingest contract.pdf --title "The contract" --document-id contract --password -',
            "ingest archive/ --json | jq -r 'select(.reason) | .file'",
        ),
    ),
    Word(
        "sync",
        _DOCUMENTS,
        "rag.cli.sync:sync",
        "Make the server follow a folder: new, changed and removed files become ingests, updates and deletes.",
        (
            "sync handbook/ --dry-run",
            "sync /srv/handbook --name handbook",
            "sync /srv/handbook --name handbook --max-deletes 0   (never deletes)",
        ),
    ),
    Word("jobs", _DOCUMENTS, "rag.cli.jobs:app", "List jobs, newest first; `show` and `watch` look at one."),
    Word(
        "cancel",
        _DOCUMENTS,
        "rag.cli.jobs:cancel",
        "End jobs that are not finished. Nothing of them is or will be searchable.",
        ("cancel job_0123",),
    ),
    Word(
        "retry",
        _DOCUMENTS,
        "rag.cli.jobs:retry",
        "Put jobs that failed or are dead back in the queue.",
        ("retry --dead", "retry job_0123 --password -"),
    ),
    Word(
        "docs",
        _DOCUMENTS,
        "rag.cli.docs:docs",
        "List the documents that are searchable, newest first.",
        ("docs", "docs --limit 1000 --json | jq -r .document_id"),
    ),
    Word(
        "delete",
        _DOCUMENTS,
        "rag.cli.docs:delete",
        "Delete documents and end their jobs.",
        ("delete doc_0123 doc_4567",),
    ),
    Word("keys", _OPERATE, "rag.cli.keys:app", "Make, list and revoke API keys."),
    Word(
        "usage",
        _OPERATE,
        "rag.cli.usage:usage",
        "Show what your tenant used today, what it stores, and what it may.",
        ("usage", "usage --json | jq .tokens_today.used"),
    ),
    Word("eval", _OPERATE, "rag.cli.eval:app", "Measure retrieval with labelled questions."),
    Word("index", _OPERATE, "rag.cli.index:app", "Look after the index."),
    Word(
        "backup",
        _OPERATE,
        "rag.cli.backup:backup",
        "Back up everything an embedded deployment keeps, while it runs: catalogue, queue, index, uploads.",
        (
            "backup /backups/monday",
            "backup --verify /backups/monday",
            "backup /backups/monday --data-dir /srv/ragmesh --json | jq .bytes",
        ),
    ),
    Word(
        "restore",
        _OPERATE,
        "rag.cli.backup:restore",
        "Bring a backup back into a data folder, with all services stopped.",
        ("restore /backups/monday", "restore /backups/monday --data-dir /srv/ragmesh --force"),
    ),
)
