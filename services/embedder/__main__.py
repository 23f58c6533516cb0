"""Run the embedder: `python -m services.embedder`."""

from __future__ import annotations

from rag.runtime.server import run
from services.embedder.settings import EmbedderSettings
from services.embedder.wiring import wire

if __name__ == "__main__":
    run(EmbedderSettings, wire)
