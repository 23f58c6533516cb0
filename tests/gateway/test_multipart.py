"""The form parser alone: what it finds does not depend on how the bytes come."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag.runtime.errors import RagError
from services.gateway.http.multipart import Form
from tests.gateway.forms import END, FORM, field, file

Found = list[tuple[str, dict[str, tuple[str, int]], bytes]]


async def _in_pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def _read(body: bytes, size: int, *, max_files: int = 100) -> tuple[Found, str]:
    """The files that were read to their end, and the reason that ended the form."""
    form = Form(FORM["content-type"], _in_pieces(body, size), max_files)
    found: Found = []
    try:
        while head := await form.next_file():
            content = b"".join([chunk async for chunk in form.content()])
            found.append((head.name, {name: (f.value, f.since) for name, f in head.fields.items()}, content))
    except RagError as error:
        with pytest.raises(RagError, match=re.escape(str(error))):
            await form.next_file()
        return found, error.reason
    return found, ""


_PARTS = st.one_of(
    st.builds(field, st.sampled_from(["title", "metadata", "x"]), st.text(max_size=10).map(lambda text: text.encode())),
    st.builds(
        file,
        st.sampled_from(["a.txt", "b c.pdf", "ü"]),
        st.one_of(st.binary(max_size=60), st.sampled_from([b"\r\n--", b"\r\n-b", b"\r\n" * 30, b""])).map(
            lambda content: content.replace(b"--b", b"")
        ),
    ),
    st.just(b"--b\r\nbroken\r\n"),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_PARTS, max_size=6), st.sampled_from([END, b"", b"--b--"]), st.integers(1, 50), st.integers(1, 3))
async def test_what_is_found_does_not_depend_on_how_the_bytes_come(parts, end, size, max_files):
    body = b"".join(parts) + end

    assert await _read(body, size, max_files=max_files) == await _read(body, len(body) or 1, max_files=max_files)


async def test_a_field_counts_for_the_files_after_it_until_it_is_sent_again():
    body = b"".join(
        [
            field("title", "T"),
            file("a", b"1"),
            field("x", "1"),
            file("b", b"2"),
            field("title", "U"),
            file("c", b""),
            END,
        ]
    )

    found, reason = await _read(body, 7)

    assert (found, reason) == (
        [
            ("a", {"title": ("T", 1)}, b"1"),
            ("b", {"title": ("T", 1), "x": ("1", 2)}, b"2"),
            ("c", {"title": ("U", 3), "x": ("1", 2)}, b""),
        ],
        "",
    )


@pytest.mark.parametrize(
    ("parts", "files", "reason"),
    [
        ([], 0, "NO_FILE"),
        ([END], 0, "NO_FILE"),
        ([field("title", "T"), END], 0, "NO_FILE"),
        ([file("a", b"1")], 0, "BAD_FORM"),
        ([file("a", b"1"), field("title", "T"), END], 0, "FIELD_AFTER_FILE"),
        ([file("a", b"1"), file("b", b"2"), field("title", "T"), END], 1, "FIELD_AFTER_FILE"),
        ([file("a", b"1"), file("b", b"2")[:-2]], 1, "BAD_FORM"),
        ([file("a", b"1"), file("b", b"2"), file("c", b"3", part="files"), END], 1, "BAD_FORM"),
        ([file("a", b"1"), b"--b\r\n" + b"x: y\r\n" * 9, END], 0, "BAD_FORM"),
        ([b"--b\r\nx: " + b"y" * 5000, END], 0, "BAD_FORM"),
        ([field("title", b"\xff"), file("a", b"1"), END], 0, "BAD_FORM"),
        ([field("title", b"x" * 262_145), file("a", b"1"), END], 0, "BAD_FORM"),
        ([*[field("title", "T")] * 17, file("a", b"1"), END], 0, "BAD_FORM"),
        ([*[field("title", "T")] * 16, file("a", b"1"), *[field("title", "T")] * 16, file("b", b"1"), END], 2, ""),
        ([field("title", b"x" * 262_144), file("a", b"1"), END], 1, ""),
        ([file("a", b"1"), file("b", b"2"), file("c", b"3"), file("d", b"4"), END], 3, "TOO_MANY_FILES"),
    ],
)
async def test_a_form_that_breaks_keeps_the_files_that_came_before_it_broke(parts, files, reason):
    found, ended = await _read(b"".join(parts), 1_000, max_files=3)

    assert (len(found), ended) == (files, reason)


@pytest.mark.parametrize("kind", ["multipart/form-data", f"multipart/form-data; boundary={'b' * 300}"])
def test_a_boundary_that_is_none_is_refused(kind):
    with pytest.raises(RagError) as caught:
        Form(kind, _in_pieces(b"", 1), 1)
    assert caught.value.reason == "BAD_FORM"
