"""`python -m rag.runtime.probe ADDRESS [--service NAME]`: exit 0 when the service says SERVING, 1 when it does not."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

if TYPE_CHECKING:
    from rag.runtime.mesh import Tls

_EAGER = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # how long an attempt to connect may take, despite its name
]
"""A server that is just starting is found when it is there, not up to a second later; a busy one is given its time."""


def main() -> None:
    """Ask one server for its health and say what it answered."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: python -m rag.runtime.probe 127.0.0.1:50051 --service rag.v1.EmbedderService",
    )
    parser.add_argument("address", help="host:port of the gRPC server")
    parser.add_argument("--service", default="", help="full name of one service; the whole server when left out")
    parser.add_argument("--timeout", type=float, default=2.0, metavar="SECONDS")
    parser.add_argument(
        "--mesh", action="store_true", help="with the certificates of RAG_TLS_*, as services call each other"
    )
    options = parser.parse_args()
    status = check(options.address, options.service, options.timeout, _certificates() if options.mesh else None)
    sys.stdout.write(f"{status}\n")
    sys.exit(0 if status == "SERVING" else 1)


def check(address: str, service: str, timeout_s: float, tls: Tls | None = None) -> str:
    """Return the status that a server gives for a service, or why it gave none; with `tls` asked as one of the mesh."""
    channel = grpc.secure_channel(address, tls.channel(), _EAGER) if tls else grpc.insecure_channel(address, _EAGER)
    with channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=service), timeout=timeout_s, wait_for_ready=True
            )
        except grpc.RpcError as error:
            return str(error.code().name)
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


def _certificates() -> Tls | None:
    # Imported here: they take most of the start, and health is asked every few seconds.
    from rag.runtime.mesh import Mesh
    from rag.runtime.settings import SharedSettings, load

    return Mesh.of(load(SharedSettings)).tls


if __name__ == "__main__":
    main()
