"""What the words for operators share: where the data and the retriever are, and the retriever as they call it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from rag import own_redis
from rag.runtime import context
from rag.runtime.errors import FailedPrecondition, InvalidInput, Unavailable
from rag.runtime.peers import Peer, open_peer
from rag.v1 import retriever_pb2 as pb
from rag.v1.retriever_pb2_grpc import RetrieverServiceStub

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings

    from rag.cli.operator_settings import OperatorSettings

S = TypeVar("S", bound="BaseSettings")

_OPERATOR = "operator"
"""The tenant of calls that are on behalf of none."""
_SNAPSHOT_S = 1_800.0
_CALL_S = 30.0
_REBUILD_S = 24 * 3_600.0

Retriever = Annotated[
    str,
    typer.Option(metavar="HOST:PORT", help="The retriever's own gRPC address; as RETRIEVER_ADDRESS says by default."),
]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="The data folder; as RAG_DATA_DIR says by default.", file_okay=False)
]


def settings() -> OperatorSettings:
    """Return the settings; see `read`."""
    from rag.cli.operator_settings import OperatorSettings

    return read(OperatorSettings)


def read(kind: type[S]) -> S:
    """Return settings of a kind.

    Raises:
        InvalidInput: BAD_SETTING.
    """
    # Imported here: it takes a third of the start of every other command.
    from rag.runtime.settings import SettingsError, load

    try:
        return load(kind)
    except SettingsError as error:
        raise InvalidInput(str(error), "BAD_SETTING") from error


def embedded_data(data_dir: Path | None) -> Path:
    """Return the data folder of a deployment that keeps everything in it.

    Raises:
        FailedPrecondition: STORES_ELSEWHERE.
    """
    found = settings()
    folder = (data_dir or found.data_dir).resolve()
    outside = {
        "REDIS_URL": "" if found.redis_url == own_redis.url_of(folder) else found.redis_url,
        "MILVUS_URI": found.milvus_uri,
        "INGESTOR_BLOBS_URL": found.blobs_url,
    }
    named = [name for name, value in outside.items() if value]
    if named:
        message = (
            f"{' and '.join(named)} is set, so not everything is in the data folder. Servers have backups of their own: "
            "save Redis first, then Milvus (milvus-backup), then the uploads; docs/guides/backup.md tells how. "
            "`ragmesh index export` works with every store."
        )
        raise FailedPrecondition(message, "STORES_ELSEWHERE")
    return folder


class OwnRetriever:
    """The retriever, called past the gateway."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._stub = RetrieverServiceStub(peer.channel)

    async def snapshot(self, name: str) -> tuple[str, str]:
        """Have the index copied; return the copy's path inside the data folder and its SHA-256."""
        _begin(_OPERATOR, _SNAPSHOT_S)
        answer = await self._peer.unary(self._stub.SnapshotIndex, pb.SnapshotIndexRequest(name=name))
        return answer.path, answer.sha256

    async def tenants(self) -> list[str]:
        """Return all tenants that have documents, sorted."""
        found: list[str] = []
        request = pb.ListTenantsRequest(page_size=500)
        while True:
            _begin(_OPERATOR, _CALL_S)
            page = await self._peer.unary(self._stub.ListTenants, request)
            found += page.tenants
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def describe(self, tenant: str) -> pb.GetIndexResponse:
        """Return what there is to know about the index."""
        _begin(tenant, _CALL_S)
        return await self._peer.unary(self._stub.GetIndex, pb.GetIndexRequest())

    async def rebuild(
        self, tenant: str, request: pb.RebuildIndexRequest
    ) -> AsyncGenerator[pb.RebuildIndexResponse, None]:
        """Stream the events of a rebuild; it goes on when the stream is left."""
        _begin(tenant, _REBUILD_S)
        async with aclosing(self._peer.stream(self._stub.RebuildIndex, request)) as events:
            async for event in events:
                yield event

    async def export(self, tenant: str, after: str, timeout_s: float) -> AsyncGenerator[pb.ExportIndexResponse, None]:
        """Stream a tenant's documents behind an id."""
        _begin(tenant, timeout_s)
        request = pb.ExportIndexRequest(after_document_id=after)
        async with aclosing(self._peer.stream(self._stub.ExportIndex, request)) as parts:
            async for part in parts:
                yield part

    async def document(self, tenant: str, document_id: str) -> pb.Document:
        """Return a document; raises NotFound."""
        _begin(tenant, _CALL_S)
        return (await self._peer.unary(self._stub.GetDocument, pb.GetDocumentRequest(document_id=document_id))).document

    async def index(self, tenant: str, parts: AsyncIterator[pb.IndexRequest], timeout_s: float) -> None:
        """Write a document; it is searchable when this returns."""
        _begin(tenant, timeout_s)
        async with aclosing(self._peer.exchange(self._stub.Index, parts)) as events:
            async for event in events:
                if event.HasField("document"):
                    return
        raise Unavailable("The retriever did not finish.", "RETRIEVER_UNAVAILABLE")


@asynccontextmanager
async def open_retriever(address: str) -> AsyncIterator[OwnRetriever]:
    """Open the retriever for the length of a block."""
    from rag.runtime.mesh import Mesh

    found = settings()
    opened = open_peer(address or found.retriever_address, "rag.v1.RetrieverService", caller=Mesh.of(found))
    async with opened as peer:
        yield OwnRetriever(peer)


def _begin(tenant: str, timeout_s: float) -> None:
    context.use(context.new_call(tenant, timeout_s))


@contextmanager
def readable(folder: Path) -> Iterator[None]:
    """Turn what the system says about files into one sentence."""
    try:
        yield
    except OSError as error:
        message = f"{error.filename or folder}: {error.strerror or error}."
        raise FailedPrecondition(message, "FILES") from error
