"""The store of uploads, over a folder and over a remote file system."""

from __future__ import annotations

import pytest

from rag.ids import new_id
from rag.runtime.errors import FailedPrecondition, NotFound, Unavailable
from services.ingestor.adapters.fsspec_blobs import FsspecBlobs
from services.ingestor.blobs import discard


@pytest.fixture(params=["folder", "memory"])
def blobs(request, tmp_path):
    url = str(tmp_path / "blobs") if request.param == "folder" else f"memory://{new_id('bucket')}/uploads"
    return FsspecBlobs(url, tmp_path / "work")


async def put(blobs: FsspecBlobs, name: str, *pieces: bytes) -> None:
    async with blobs.draft(name) as draft:
        for piece in pieces:
            await draft.write(piece)
        await draft.commit()


async def test_a_committed_blob_can_be_read_and_removed_twice(blobs, tmp_path):
    await put(blobs, "tenant/job", b"one ", b"two")
    async with blobs.local("tenant/job") as path:
        assert path.read_bytes() == b"one two"
    await blobs.remove("tenant/job")
    await blobs.remove("tenant/job")
    with pytest.raises(NotFound, match="gone"):
        async with blobs.local("tenant/job"):
            pass
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_a_draft_without_a_commit_leaves_nothing(blobs, tmp_path):
    async with blobs.draft("tenant/job") as draft:
        await draft.write(b"half")
    with pytest.raises(NotFound):
        async with blobs.local("tenant/job"):
            pass
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_a_store_that_does_not_work_is_unavailable(tmp_path):
    (tmp_path / "blobs").write_text("a file where the folder should be")
    with pytest.raises(Unavailable) as caught:
        await put(FsspecBlobs(str(tmp_path / "blobs"), tmp_path), "tenant/job", b"x")
    assert caught.value.reason == "BLOBS_UNAVAILABLE"
    assert "/" not in caught.value.message


async def test_nothing_is_removed_while_a_backup_may_need_it(tmp_path):
    async def is_on() -> bool:
        return True

    blobs = FsspecBlobs(str(tmp_path / "blobs"), tmp_path / "work", is_on)
    await put(blobs, "tenant/job", b"text")
    with pytest.raises(FailedPrecondition) as refused:
        await blobs.remove("tenant/job")
    assert refused.value.reason == "REMOVALS_PAUSED"
    await discard(blobs, "tenant/job")  # the sweep finds it later
    assert await blobs.exists("tenant/job")
