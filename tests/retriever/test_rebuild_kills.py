"""A retriever that is killed in the middle of a rebuild; the next one finishes it, and nothing is lost or there twice."""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack

import grpc
import pytest

from rag.v1 import retriever_pb2 as pb
from tests.retriever.room import document, of
from tests.retriever.test_kills import Killed, died, sent, settled
from tests.retriever.test_kills import killed as killed  # noqa: PLC0414 - the fixture
from tests.retriever.test_rebuild import ROLL_BACK, index_of, result
from tests.waiting import until

DOCUMENTS, PASSAGES = 6, 70


async def broken_off(stub, **fields) -> None:
    call = stub.RebuildIndex(pb.RebuildIndexRequest(**fields), metadata=of("t"), timeout=60)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    "failpoint",
    ["rebuild_copied:1", "rebuild_copied:4", "rebuild_compared:1", "index_switching:1", "index_switched:1"],
)
async def test_a_rebuild_survives_a_kill(killed: Killed, tenant: str, failpoint: str) -> None:
    async with AsyncExitStack() as stack:
        process, engine, stub = await killed.run(stack, failpoint)
        for number in range(DOCUMENTS):
            texts = [f"document {number} row {n} water" for n in range(PASSAGES)]
            assert await sent(stub, tenant, document(f"d{number}", texts))
        await broken_off(stub, analyzer="plain")
        await died(process, engine)
    async with killed.next() as room:
        await until(room.room.is_ready)
        assert await room.delete(tenant, "d0")
        await room.index(tenant, "d1", ["quokka"])

        async def switched() -> bool:
            found = await index_of(room, tenant)
            return found.live.analyzer == "plain" and not found.HasField("building")

        await until(switched)
        await settled(room)
        found = await index_of(room, tenant)
        assert (found.documents, found.passages) == (DOCUMENTS - 1, (DOCUMENTS - 2) * PASSAGES + 1)

        async def exact() -> bool:
            return (await index_of(room, tenant)).live.rows == found.passages

        await until(exact)
        assert [kept.analyzer for kept in found.retired] == ["multilingual"]
        for number in range(2, DOCUMENTS):
            request = pb.ListPassagesRequest(document_id=f"d{number}", page_size=500)
            listed = (await room.stub.ListPassages(request, metadata=of(tenant))).passages
            assert [passage.ordinal for passage in listed] == list(range(PASSAGES))
        places = Counter(
            (hit.passage.document_id, hit.passage.ordinal) for hit in await room.hits(tenant, "water", top_k=100)
        )
        assert set(places.values()) == {1}
        ended = await result(room, action=ROLL_BACK)
        assert ended.switched, ended
        assert await room.found(tenant, "quokka", top_k=1) == ["quokka"]
        assert (await index_of(room, tenant)).passages == found.passages
