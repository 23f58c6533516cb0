"""Runs the generator: `python -m services.generator`."""

from __future__ import annotations

from rag.runtime.server import run
from services.generator.settings import GeneratorSettings
from services.generator.wiring import wire

if __name__ == "__main__":
    run(GeneratorSettings, wire)
