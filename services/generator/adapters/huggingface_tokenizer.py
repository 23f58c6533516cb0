"""Counts tokens as the language model does, by the `tokenizer.json` that is published with it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tokenizers import Tokenizer

from rag.runtime.errors import FailedPrecondition

_MOST_KEPT = 16_384


class HuggingFaceTokenizer:
    """A count of tokens.

    Args:
        path: The tokenizer's file.

    Raises:
        FailedPrecondition: TOKENIZER_MISSING or TOKENIZER_UNREADABLE.
    """

    def __init__(self, path: Path) -> None:
        try:
            file = path.read_bytes()
        except OSError as error:
            message = f"GENERATOR_TOKENIZER names {path}, which is no file that can be read."
            raise FailedPrecondition(message, "TOKENIZER_MISSING") from error
        try:
            self._tokenizer = Tokenizer.from_buffer(file)
        except Exception as error:  # the library raises nothing narrower
            message = f"GENERATOR_TOKENIZER names {path}, which is no tokenizer.json."
            raise FailedPrecondition(message, "TOKENIZER_UNREADABLE") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        # What looks like a special token in a passage is text: it must not be counted as one token.
        self._tokenizer.encode_special_tokens = True
        self._kept: dict[bytes, int] = {}

    def count(self, text: str) -> int:
        """Return the tokens of a text. One that was counted lately is not counted again: it takes 1 ms for a passage."""
        key = hashlib.blake2b(text.encode(), digest_size=16).digest()
        count = self._kept.get(key)
        if count is None:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            count = self._kept[key] = len(self._tokenizer.encode(text, add_special_tokens=False).ids)
        return count
