"""The door: REST and SSE for browsers and scripts, and the services' own gRPC for other backends."""

from __future__ import annotations
