"""Run the retriever: `python -m services.retriever`."""

from __future__ import annotations

from rag.runtime.server import run
from services.retriever.settings import RetrieverSettings
from services.retriever.wiring import wire

if __name__ == "__main__":
    run(RetrieverSettings, wire, spawns=True)
