"""What the retriever counts."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

SEARCH_SECONDS = Histogram(
    "ragmesh_retriever_search_seconds",
    "Seconds that one leg of a search took in the index.",
    ["leg"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
RETRIEVALS = Counter(
    "ragmesh_retriever_cache_total",
    "Searches by what the cache said: hit, miss, stale (it held an answer that is not valid any more), bypass.",
    ["outcome"],
)
SHARED_SEARCHES = Counter(
    "ragmesh_retriever_shared_searches_total", "Searches that were answered by an equal one that was running."
)
DEGRADED = Counter("ragmesh_retriever_degraded_total", "Answers with this notice.", ["code"])
RERANKS = Counter(
    "ragmesh_retriever_reranks_total",
    "Rerankings by how they ended: done, failed, paused (not tried after failures).",
    ["outcome"],
)
RERANK_SECONDS = Histogram(
    "ragmesh_retriever_rerank_seconds",
    "Seconds that the reranker took, or until it was given up.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
HITS_DROPPED = Counter("ragmesh_retriever_hits_dropped_total", "Hits dropped because their version was not live.")
ROWS_WRITTEN = Counter("ragmesh_retriever_rows_written_total", "Rows written to the index.")
ERASURES_DONE = Counter("ragmesh_retriever_erasures_total", "Erasures done and verified.")
ERASURES_PENDING = Gauge("ragmesh_retriever_erasures_pending", "Erasures that are still to be done.")
ENGINE_RESTARTS = Counter("ragmesh_retriever_engine_restarts_total", "Restarts of the embedded index after it died.")
READS_RETRIED = Counter("ragmesh_retriever_index_retries_total", "Operations of the index that were tried again.")
DELETIONS_DONE = Counter("ragmesh_retriever_deletions_total", "Deletions whose erasure was finished.")
DELETIONS_PENDING = Gauge("ragmesh_retriever_deletions_pending", "Deletions whose erasure is not finished.")
SCRUB_SECONDS = Histogram(
    "ragmesh_retriever_scrub_seconds",
    "Seconds that it took to overwrite what erased rows left in the files of the index.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
LOG_REWRITES = Counter(
    "ragmesh_retriever_log_rewrites_total", "Rewrites of the append-only file of Redis after deletions.", ["outcome"]
)
RECONCILED = Counter(
    "ragmesh_retriever_reconciled_total", "What the comparison of catalogue and index found.", ["found"]
)
PRECISION_AT_5 = Gauge(
    "rag_precision_at_5",
    "The share of the first five results that were relevant, in the last evaluation.",
    ["dataset", "mode"],
)
NDCG_AT_10 = Gauge("rag_ndcg_at_10", "nDCG of the first ten results, in the last evaluation.", ["dataset", "mode"])
RECALL_AT_10 = Gauge(
    "rag_recall_at_10",
    "The share of the relevant results among the first ten, in the last evaluation.",
    ["dataset", "mode"],
)
