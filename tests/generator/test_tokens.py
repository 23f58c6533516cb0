from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from rag.local_model import tokenizer_path
from rag.runtime.errors import FailedPrecondition
from services.generator.adapters.huggingface_tokenizer import HuggingFaceTokenizer
from services.generator.prompting.tokens import MESSAGE_TOKENS, messages_at_most, tokens_at_most

ADVERSARIAL = st.one_of(
    st.text(),
    st.text("0123456789 "),
    st.text("!?#$%&()*+,-./:;<=>@[]^_{|}~\\`'\""),
    st.text("天気漢字仮名交あいうアイウ한국어"),
    st.text("🙂👩‍👧🏳️‍🌈🫠"),
    st.text("qzxjvkw "),
    st.sampled_from(["\ufdfa", "for (i=0;i<n;++i){a[i]^=~b[i];}", "İΐ", "\x00\x01"]),
)


def byte_level() -> Tokenizer:
    """The worst that a byte-level BPE can do: it knows no more than the bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def byte_fallback() -> Tokenizer:
    """The worst that a BPE with byte fallback can do; it puts a space before each text."""
    vocabulary = {"▁": 0, **{f"<0x{byte:02X}>": byte + 1 for byte in range(256)}}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return tokenizer


def published() -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(tokenizer_path()))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


TOKENIZERS = [byte_level(), byte_fallback(), published()]


@given(ADVERSARIAL)
def test_no_tokenizer_finds_more_tokens_than_the_bound_of_a_message(text: str) -> None:
    bound = messages_at_most([("user", text)])
    for tokenizer in TOKENIZERS:
        assert len(tokenizer.encode(text, add_special_tokens=False).ids) <= bound


@pytest.mark.parametrize("text", ["0123456789", "!?!?", "天気", "🙂"])
def test_nothing_smaller_is_a_bound(text: str) -> None:
    assert len(byte_level().encode(text).ids) == tokens_at_most(text)


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("abc", 3), ("é", 2), ("天", 3), ("🙂", 4)])
def test_tokens_are_bounded_by_the_bytes(text: str, tokens: int) -> None:
    assert tokens_at_most(text) == tokens


def test_each_message_costs_its_ends_too() -> None:
    assert messages_at_most([("system", "ab"), ("user", "")]) == 2 + 2 * MESSAGE_TOKENS


def test_a_tokenizer_counts_its_own_tokens(tmp_path: Path) -> None:
    tokenizer = byte_level()
    tokenizer.add_special_tokens(["<|end|>"])
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=16)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    counter = HuggingFaceTokenizer(tmp_path / "tokenizer.json")
    assert [counter.count(text) for text in ["", "abc", "天気", "abc def ghi", "abc"]] == [0, 3, 6, 11, 3]
    assert counter.count("<|end|>") == 7  # in a passage it is text


def test_a_published_tokenizer_is_read() -> None:
    assert HuggingFaceTokenizer(tokenizer_path()).count("The sky is blue.") == 5


def test_a_tokenizer_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="nowhere") as caught:
        HuggingFaceTokenizer(tmp_path / "nowhere.json")
    assert caught.value.reason == "TOKENIZER_MISSING"


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"\xff\xfe", b'{"version": "1.0", "model": {"type": "BPE"}}', b"[" * 999]
)
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(FailedPrecondition) as caught:
        HuggingFaceTokenizer(tmp_path / "tokenizer.json")
    assert caught.value.reason == "TOKENIZER_UNREADABLE"
