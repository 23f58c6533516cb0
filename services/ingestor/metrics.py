"""What the ingestor counts."""

from __future__ import annotations

from prometheus_client import REGISTRY, Counter, Gauge, Histogram

from services.ingestor.busy import BusyClock, BusySeconds

UPLOADS = Counter("ragmesh_ingest_uploads_total", "Uploads, by what became of them.", ["outcome"])
UPLOADED_BYTES = Counter("ragmesh_ingest_uploaded_bytes_total", "Bytes of accepted uploads.")
JOBS = Counter("ragmesh_ingest_jobs_total", "Jobs ended, by state and reason (empty when ready).", ["state", "reason"])
JOBS_RUNNING = Gauge("ragmesh_ingest_jobs_running", "Jobs in the hands of this process.")
JOB_SECONDS = Histogram(
    "ragmesh_ingest_job_seconds",
    "Seconds from taking a job up to its end.",
    buckets=(0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800),
)
PAGES = Counter("ragmesh_ingest_pages_total", "Pages read.")
PASSAGES = Counter("ragmesh_ingest_passages_total", "Passages written to the index.")
RETRIES = Counter("ragmesh_ingest_retries_total", "Times a job waited for another service, by reason.", ["reason"])
PARSER_DEATHS = Counter("ragmesh_ingest_parser_deaths_total", "Parser children that died, by reason.", ["reason"])
LEASES_LOST = Counter("ragmesh_ingest_leases_lost_total", "Jobs that another worker took over from this one.")
WEBHOOKS = Counter("ragmesh_ingest_webhooks_total", "Webhooks sent, by what became of them.", ["outcome"])
EMBED_WAITS = Counter(
    "ragmesh_ingest_embed_waits_total", "Times a batch waited for the embedder, by reason.", ["reason"]
)

EXTRACT, SPLIT, EMBED, INDEX = BusyClock(), BusyClock(), BusyClock(), BusyClock()
REGISTRY.register(
    BusySeconds(
        "ragmesh_ingest_stage_busy_seconds",
        "Seconds in which a stage had at least one document to work on, by stage.",
        "stage",
        {"extract": EXTRACT, "split": SPLIT, "embed": EMBED, "index": INDEX},
    )
)
RECONCILED = Counter("ragmesh_ingest_reconciled_total", "Leftovers of crashes that were found and repaired.", ["found"])
