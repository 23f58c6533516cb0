"""`python -m services.gateway` serves REST, SSE and gRPC until SIGTERM."""

from __future__ import annotations

from rag.runtime.server import run
from services.gateway.settings import GatewaySettings
from services.gateway.wiring import wire

if __name__ == "__main__":
    run(GatewaySettings, wire)
