"""Passages: exact, bounded, complete, deterministic, and cut where a reader would cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag.passage import Passage, in_context
from services.ingestor.pages import PAGE_BREAK, Page
from services.ingestor.readers.parts import PART_CHARS, parts
from services.ingestor.splitting import MAX_PASSAGE_CHARS, MAX_PASSAGE_TOKENS, Origin, Sizes, Splitter

SIZES = Sizes()
ORIGIN = Origin("tenant", "document", "hash")


class Counting:
    """A counter that knows how much it was asked to read."""

    def __init__(self, counter):
        self.counter = counter
        self.chars = 0

    def offsets(self, text):
        self.chars += len(text)
        return self.counter.offsets(text)

    def count(self, text):
        self.chars += len(text)
        return self.counter.count(text)


def split(counter, pages: list[Page], sizes: Sizes = SIZES, title: str = "") -> list[Passage]:
    splitter = Splitter(ORIGIN, counter, sizes, title)
    return [passage for page in pages for passage in splitter.feed(page)]


def pages_of(texts: list[str]) -> list[Page]:
    return [Page(number, text) for number, text in enumerate(texts, 1)]


texts = st.lists(
    st.lists(
        st.sampled_from([*"ab.A1 \n#\t-", "é", "漢", "。", "🙂", "\u200b", "\u0301", "word ", "1.2 Title\n\n"]),
        max_size=600,
    ).map("".join),
    min_size=1,
    max_size=4,
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=texts, tokens=st.integers(16, 60))
def test_passages_are_exact_bounded_complete_and_deterministic(counter, texts, tokens):
    sizes = Sizes(tokens, tokens // 4)
    passages = split(counter, pages_of(texts), sizes)
    document = PAGE_BREAK.join(texts)
    covered = bytearray(len(document))
    starts = [sum(len(text) + 1 for text in texts[:number]) for number in range(len(texts))]
    for passage in passages:
        assert document[passage.char_start : passage.char_end] == passage.text
        assert passage.text == passage.text.strip() != ""
        assert 0 < passage.token_count == counter.count(passage.text) <= MAX_PASSAGE_TOKENS
        begin = starts[passage.page - 1]
        assert begin <= passage.char_start < passage.char_end <= begin + len(texts[passage.page - 1])
        covered[passage.char_start : passage.char_end] = b"\1" * len(passage.text)
    left = "".join(char for char, seen in zip(document, covered, strict=True) if not seen)
    assert counter.count(left) == 0, left
    assert [passage.ordinal for passage in passages] == list(range(len(passages)))
    assert passages == split(counter, pages_of(texts), sizes)
    assert len({passage.id for passage in passages}) == len(passages)


@pytest.mark.parametrize(
    "unit",
    ["x", "\n", " x", "漢", "\u200b", "a\u0301", "\n\n\n ", "a.", "。", "1.1 A\n", "# A\n", "\x07", ". "],
    ids=[
        "no-space",
        "newlines",
        "words",
        "chinese",
        "zero-width",
        "accents",
        "blank",
        "dots",
        "stops",
        "numbers",
        "hashes",
        "bell",
        "sentences",
    ],
)
def test_the_work_is_linear_in_the_text(counter, unit):
    counting = Counting(counter)
    text = (unit * 60_000)[:60_000]
    passages = split(counting, list(parts(0, [text])))
    assert counting.chars <= 4 * len(text)
    assert all(
        len(passage.text) <= MAX_PASSAGE_CHARS and passage.token_count <= MAX_PASSAGE_TOKENS for passage in passages
    )


titles = st.one_of(
    st.text(max_size=1_000),
    st.sampled_from(["", "Title", "!" * 300, "漢" * 300, "각" * 300, "Заглавие " * 40, "a\u0301" * 200, "İ" * 250]),
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=texts, title=titles, heading=titles)
def test_a_passage_and_what_stands_above_it_fit_the_model(counter, texts, title, heading):
    pages = pages_of([f"# {' '.join(heading.split())[:150]}\n\n{'word ' * 300}{text}" for text in texts])
    for passage in split(counter, pages, SIZES, title):
        assert counter.count(in_context(title, passage.heading, passage.text)) <= MAX_PASSAGE_TOKENS
        assert passage.token_count == counter.count(passage.text)


@pytest.mark.parametrize("title", ["!" * 200, "漢" * 200, "각" * 200, "words of a title " * 20], ids=len)
def test_the_longest_title_leaves_room_for_a_text_and_does_not_multiply_passages(counter, title):
    text = "The pump is checked every week by the leader of the shift. " * 100
    passages = split(counter, [Page(1, text)], SIZES, title)
    assert min(passage.token_count for passage in passages[:-1]) > 20
    assert sum(passage.token_count for passage in passages) < 2.5 * counter.count(text)


def test_a_short_title_leaves_the_passages_as_they_are(counter):
    text = "The pump is checked every week by the leader of the shift. " * 100
    assert split(counter, [Page(1, text)], SIZES, "A title") == split(counter, [Page(1, text)])


def test_a_passage_prefers_the_end_of_a_paragraph(counter):
    paragraph = "The pump is checked every week by the leader of the shift in hall one. " * 8
    passages = split(counter, [Page(1, f"{paragraph}\n\n{paragraph}")])
    assert passages[0].text == paragraph.strip()


def test_a_passage_prefers_the_end_of_a_sentence_and_repeats_the_last_one(counter):
    sentences = [f"Sentence number {n} tells of pump {n} in hall {n}." for n in range(60)]
    passages = split(counter, [Page(1, " ".join(sentences))])
    assert len(passages) > 3
    for before, after in pairwise(passages):
        assert before.text.endswith(".")
        assert after.text.startswith("Sentence")
        assert 0 < before.char_end - after.char_start < len(before.text) / 2


def test_headings_begin_passages_and_are_carried_over_pages(counter):
    body = "The pump is checked every week. " * 12
    pages = [
        Page(1, f"# Plant\n\n{body}\n\n## Pumps\n\n{body}"),
        Page(2, body),
        Page(3, f"{body}\n\n# Office\n\n{body}"),
    ]
    passages = split(counter, pages)
    assert [(passage.page, passage.heading) for passage in passages] == [
        (1, "Plant"),
        (1, "Plant > Pumps"),
        (2, "Plant > Pumps"),
        (3, "Plant > Pumps"),
        (3, "Office"),
    ]
    assert passages[1].text.startswith("## Pumps")


def test_numbered_headings_count_and_lists_do_not(counter):
    body = "The pump is checked every week. " * 12
    text = f"1. Scope\n\n{body}\n\n1.2 Limits\n{body}\n\n1. First do this\n2. Then do that\n"
    assert [passage.heading for passage in split(counter, [Page(1, text)])] == ["1. Scope", "1. Scope > 1.2 Limits"]


def test_code_comments_are_no_headings(counter):
    text = "# Title\n\n```\n# not a heading\nx = 1\n```\n\nEnd of it."
    assert {passage.heading for passage in split(counter, [Page(0, text)])} == {"Title"}


def test_parts_of_one_page_count_as_one_page(counter):
    text = "The pump is checked every week.\n" * 4000
    pages = list(parts(1, [text]))
    assert len(pages) > 1
    assert "".join(page.text for page in pages) == text
    assert all(len(page.text) <= PART_CHARS for page in pages)
    passages = split(counter, [*pages, Page(2, "Next page.")])
    assert all(text[passage.char_start : passage.char_end] == passage.text for passage in passages[:-1])
    assert passages[-1].char_start == len(text) + 1


def test_ids_depend_on_all_that_the_passage_depends_on(counter):
    page = [Page(1, "The pump is checked every week.")]
    origins = [
        ORIGIN,
        Origin("t2", "document", "hash"),
        Origin("tenant", "d2", "hash"),
        Origin("tenant", "document", "h2"),
    ]
    ids = {next(iter(Splitter(origin, counter, Sizes()).feed(page[0]))).id for origin in origins}
    ids.add(split(counter, page, Sizes(100, 20))[0].id)
    assert len(ids) == 5
    assert all(found.startswith("psg_") and len(found) == 36 for found in ids)
