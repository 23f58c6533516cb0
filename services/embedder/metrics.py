"""What the embedder counts besides its calls."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

VECTORS = Counter("embedder_vectors_total", "Vectors answered, by where they came from.", ["source"])
TRUNCATED = Counter("embedder_truncated_total", "Texts that were cut at the model's limit.")
RUN_SECONDS = Histogram(
    "embedder_run_seconds",
    "Seconds that one run of the model took.",
    buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
RUN_TOKENS = Histogram(
    "embedder_run_tokens",
    "Tokens that went through one run of the model, padding not counted.",
    buckets=(16, 64, 128, 256, 512, 1_024, 2_048, 4_096, 16_384, 65_536, 262_144),
)
RUNS_SPLIT = Counter(
    "embedder_runs_split_total",
    "Runs that the model refused as too large or for one bad text, and that were tried again in halves.",
)
BUSY_SECONDS = Counter("ragmesh_embedder_busy_seconds_total", "Seconds in which at least one run was going on.")
QUEUED_TEXTS = Gauge("embedder_queued_texts", "Texts that wait for a run of the model.")
CACHE_FAILURES = Counter(
    "embedder_cache_failures_total", "Reads and writes of the Redis cache that failed.", ["action"]
)
UNWRITTEN = Counter(
    "embedder_unwritten_total", "Vectors and claims to them given up because too many waited for Redis to come back."
)
RETRIES = Counter("embedder_model_retries_total", "Requests to the endpoint that were tried again.")
COOLDOWNS = Counter("embedder_model_cooldowns_total", "Refusals of the endpoint that began or prolonged a cooldown.")
