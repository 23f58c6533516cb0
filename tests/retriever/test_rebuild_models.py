"""The model changes: what does not fit the live index is not served, and a rebuild makes an index that fits."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import grpc

from rag.v1 import retriever_pb2 as pb
from tests.retriever.room import LetterEmbedder, embedder, fresh_database, retriever
from tests.retriever.test_rebuild import ROLL_BACK, fill, index_of, rebuild, refused, result
from tests.waiting import until


async def test_another_model_is_told_and_a_rebuild_heals_it(redis_url: str, tmp_path: Path) -> None:
    database = await fresh_database(redis_url)
    served = LetterEmbedder()
    async with embedder(served) as port, retriever(tmp_path, database, port) as room:
        await until(room.room.is_ready)
        await fill(room, 1, 3)
        served.revision = "r2"
        events = await room.retrieve("t0", "water")
        assert [event.HasField("hit") for event in events].count(True) == 8
        assert [notice.code for notice in events[-1].summary.notices] == ["MODEL_MISMATCH"]
        dense = room.retrieve("t0", "water", mode=pb.RETRIEVAL_MODE_DENSE)
        assert await refused(dense) == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_MISMATCH")
        written = room.index("t0", "new", ["quokka"], revision="r2")
        assert await refused(written) == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_MISMATCH")
        problem = (await index_of(room)).problem
        assert problem.code == "MODEL_MISMATCH"
        assert "ragmesh index rebuild" in problem.message

        events = await rebuild(room)
        assert events[-1].result.switched, events[-1]
        assert events[-1].result.live.revision == "r2"
        [compared] = [event.comparison for event in events if event.HasField("comparison")]
        assert not compared.HasField("overlap_at_5")
        found = await index_of(room, "t0")
        assert (found.live.rows, found.passages) == (210, 210)
        assert not found.HasField("problem")
        assert not (await room.retrieve("t0", "water"))[-1].summary.notices
        await room.index("t0", "new", ["quokka"], revision="r2")
        back = rebuild(room, action=ROLL_BACK)
        assert await refused(back) == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_MISMATCH")
        served.revision = "r1"
        assert (await result(room, action=ROLL_BACK)).switched
        assert await room.found("t0", "quokka", top_k=1) == ["quokka"]


async def test_two_embedders_make_the_change_without_a_gap(redis_url: str, tmp_path: Path) -> None:
    database = await fresh_database(redis_url)
    old, new = LetterEmbedder(), LetterEmbedder(model="letters")
    async with AsyncExitStack() as stack:
        port, next_port = [await stack.enter_async_context(embedder(one)) for one in (old, new)]
        async with retriever(tmp_path, database, port) as room:
            await until(room.room.is_ready)
            await fill(room, 2, 3)
        address = f"127.0.0.1:{next_port}"
        async with retriever(tmp_path, database, port, next_embedder_address=address) as room:
            await until(room.room.is_ready)
            assert (await index_of(room)).live.model == "words"
            assert not (await room.retrieve("t0", "water"))[-1].summary.notices
            events = await rebuild(room)
            assert events[-1].result.switched, events[-1]
            [compared] = [event.comparison for event in events if event.HasField("comparison")]
            assert compared.overlap_at_5 > 0.9  # the vectors are the same, and of equal ones any comes first
            assert (await index_of(room)).live.model == "letters"
            assert not (await room.retrieve("t0", "water"))[-1].summary.notices
            assert (await result(room, action=ROLL_BACK)).switched
            assert (await index_of(room)).live.model == "words"
