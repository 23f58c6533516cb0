"""What an API key looks like, and that a mistyped one is found out before it costs anything."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.access.api_key import new_key, parse
from rag.runtime.errors import Unauthenticated

BITS = st.integers(0, 2**256 - 1)


@given(BITS)
def test_every_number_makes_a_key_that_is_read_back(bits):
    key = new_key(lambda _count: bits)
    assert len(key.text) == 4 + 43 + 6
    assert key.text.startswith("rmk_")
    assert parse(key.text).text == key.text


@given(BITS, st.integers(0, 52), st.characters())
def test_any_changed_character_is_found_out(bits, at, other):
    text = new_key(lambda _count: bits).text
    changed = text[:at] + other + text[at + 1 :]
    if changed == text:
        return
    with pytest.raises(Unauthenticated) as caught:
        parse(changed)
    assert caught.value.reason == "KEY_MALFORMED"


@given(BITS, st.integers(4, 51))
def test_two_neighbours_that_changed_places_are_found_out(bits, at):
    text = new_key(lambda _count: bits).text
    changed = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    if changed == text:
        return
    with pytest.raises(Unauthenticated):
        parse(changed)


@given(st.text(max_size=60))
@settings(max_examples=50)
def test_any_text_is_refused_cleanly(text):
    for value in (text, f"rmk_{text}"):
        with pytest.raises(Unauthenticated):
            parse(value)


@pytest.mark.parametrize("cut", range(1, 53))
def test_a_cut_key_is_found_out(cut):
    with pytest.raises(Unauthenticated):
        parse(new_key().text[:cut])


def test_keys_differ_and_so_do_digests_under_another_pepper():
    keys = [new_key() for _ in range(100)]
    assert len({key.text for key in keys}) == len({key.digest(b"p" * 32) for key in keys}) == 100
    assert keys[0].digest(b"p" * 32) != keys[0].digest(b"q" * 32)
    assert keys[0].digest(b"p" * 32) == parse(keys[0].text).digest(b"p" * 32)


def test_neither_a_key_nor_an_error_shows_it():
    key = new_key()
    assert key.text[4:] not in f"{key!r} {key}"
    with pytest.raises(Unauthenticated) as caught:
        parse(key.text[:-1])
    assert key.text[4:-1] not in repr(caught.value)
