"""What the gRPC port serves: the services behind the door, under their own names and with their own health."""

from __future__ import annotations

import grpc

from rag.runtime.peers import Peer
from rag.runtime.server import Mount
from services.gateway.edge import PassThrough


def pass_through(peer: Peer) -> Mount:
    """Return a peer's service as one of this server's."""
    handler = PassThrough(peer)

    def add(server: grpc.aio.Server) -> None:
        server.add_generic_rpc_handlers((handler,))

    return Mount(peer.full_name, add, is_ready=peer.is_serving)
