"""`python -m services.ingestor`."""

from __future__ import annotations

from rag.runtime.server import run
from services.ingestor.settings import IngestorSettings
from services.ingestor.wiring import wire

if __name__ == "__main__":
    run(IngestorSettings, wire, spawns=True)
