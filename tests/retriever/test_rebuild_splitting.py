"""Documents are cut anew: their text is put together from passages as it was, and the new index holds the new cut."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.passage import Passage
from rag.passage_proto import to_proto
from rag.runtime.context import current
from rag.v1 import ingestor_pb2
from services.ingestor.pages import PAGE_BREAK, Page
from services.ingestor.resplitting import Resplitting, StoredText
from services.ingestor.splitting import Origin, Sizes, Splitter
from services.retriever.passages import Row
from services.retriever.rebuild.resplitting import pages
from tests.retriever.room import HASH, JobEraser, embedder, fresh_database, passage, retriever
from tests.retriever.test_rebuild import ROLL_BACK, index_of, result
from tests.waiting import until


class Words:
    """Counts words as tokens."""

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        return [found.span() for found in re.finditer(r"\S+", text)]

    def count(self, text: str) -> int:
        return len(self.offsets(text))


def cut(texts: Sequence[str], sizes: Sizes) -> list[Passage]:
    splitter = Splitter(Origin("t", "d", HASH), Words(), sizes, "Title")
    numbered = enumerate(texts, start=1)
    return [one for number, text in numbered for one in splitter.cut(Page(number, text))]


async def rejoined(passages: Sequence[Passage], at_once: int = 3) -> list[tuple[int, str]]:
    async def rows() -> AsyncIterator[list[Row]]:
        for start in range(0, len(passages), at_once):
            yield [Row(one, "Title") for one in passages[start : start + at_once]]

    return [(page.number, page.text) async for page in pages(rows())]


PAGES = st.lists(st.text(st.sampled_from("abcdef  \n.#é中"), max_size=300), min_size=1, max_size=5)


@given(PAGES, st.integers(2, 20), st.integers(0, 10))
async def test_the_text_is_put_together_at_its_places(texts: list[str], tokens: int, overlap: int) -> None:
    passages = cut(texts, Sizes(tokens, min(overlap, tokens // 2)))
    whole = PAGE_BREAK.join(texts)
    found = PAGE_BREAK.join(text for _, text in await rejoined(passages))
    for one in passages:
        assert found[one.char_start : one.char_end] == whole[one.char_start : one.char_end] == one.text
    assert re.sub(r"\s", " ", found).rstrip() == re.sub(r"\s", " ", whole).rstrip()


class SplittingIngestor(JobEraser):
    """The ingestor's own cutting, with the sizes that it has now."""

    sizes = Sizes(8, 2)

    async def SplitPages(self, request_iterator, context):
        header = (await anext(request_iterator)).header

        async def sent() -> AsyncIterator[Page]:
            async for request in request_iterator:
                yield Page(request.page.number, request.page.text)

        stored = StoredText(header.document_id, header.content_hash, header.title)
        async for passages in Resplitting(Words(), self.sizes).split(current().tenant, stored, sent()):
            yield ingestor_pb2.SplitPagesResponse(passages=[to_proto(one) for one in passages])


@pytest.mark.parametrize("documents", [3])
async def test_documents_are_cut_anew(redis_url: str, tmp_path: Path, documents: int) -> None:
    texts = [" ".join(f"word{page}x{n}" for n in range(40)) for page in range(3)]
    first = cut(texts, Sizes(20, 4))
    async with embedder() as port:
        database = await fresh_database(redis_url)
        async with retriever(tmp_path, database, port, SplittingIngestor()) as room:
            await until(room.room.is_ready)
            for number in range(documents):
                await room.send("t", _parts(f"d{number}", first))
            ended = await result(room, resplit=True, min_overlap=0)
            assert ended.switched, ended
            wanted = cut(texts, SplittingIngestor.sizes)
            assert len(wanted) != len(first)
            found = await index_of(room, "t")
            assert (found.documents, found.passages, found.live.rows) == (
                documents,
                documents * len(wanted),
                documents * len(wanted),
            )
            assert (await room.get("t", "d1")).passage_count == len(wanted)
            hits = await room.hits("t", "word1x20", top_k=100)
            assert {hit.passage.text for hit in hits} == {one.text for one in wanted}
            spans = {(hit.passage.char_start, hit.passage.char_end, hit.passage.page) for hit in hits}
            assert spans == {(one.char_start, one.char_end, one.page) for one in wanted}
            assert (await result(room, action=ROLL_BACK)).switched
            assert (await index_of(room, "t")).passages == documents * len(first)
            assert (await room.get("t", "d1")).passage_count == len(first)


def _parts(document_id: str, passages: Sequence[Passage]):
    from rag.v1 import retriever_pb2 as pb
    from tests.retriever.room import batch, commit, header

    sent = batch([one.text for one in passages])
    del sent.passages.passages[:]
    for number, one in enumerate(passages):
        sent.passages.passages.append(
            passage(number, one.text, page=one.page, char_start=one.char_start, char_end=one.char_end)
        )
    parts: list[pb.IndexRequest] = [header(document_id, title="Title"), sent, commit(len(passages), page_count=3)]
    return parts
