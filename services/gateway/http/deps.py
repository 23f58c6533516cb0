"""What the routes are built from; the composition root fills it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rag.runtime.peers import Peer
from services.gateway.access.access import Access
from services.gateway.http.sse import EventStream, Frames, OpenStreams
from services.gateway.service import GatewayServicer
from services.gateway.settings import GatewaySettings


@dataclass(frozen=True, slots=True)
class Peers:
    """The four services behind the door."""

    embedder: Peer
    retriever: Peer
    generator: Peer
    ingestor: Peer

    def by_name(self) -> Mapping[str, Peer]:
        """Return the peers under the names that people use."""
        return {peer.name: peer for peer in (self.embedder, self.retriever, self.generator, self.ingestor)}


@dataclass(frozen=True, slots=True)
class Deps:
    """What the routes need."""

    settings: GatewaySettings
    peers: Peers
    access: Access
    own: GatewayServicer
    """The gateway's own service, which REST asks too."""
    is_draining: Callable[[], bool] = lambda: False
    """Tells whether this process is going down."""
    streams: OpenStreams = field(default_factory=OpenStreams)

    def event_stream(self, frames: Frames, **manner: Any) -> EventStream:
        """Return a response that sends frames as server-sent events; `manner` as EventStream takes it."""
        return EventStream(
            frames,
            self.streams,
            ping_s=self.settings.sse_ping_s,
            send_timeout_s=self.settings.sse_send_timeout_s,
            **manner,
        )
