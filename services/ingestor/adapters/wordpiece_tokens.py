"""Counts tokens as the local embedding model does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

_SEGMENT_CHARS = 65_536


class WordpieceTokens:
    """A `TokenCounter` over a Hugging Face tokenizer file."""

    def __init__(self, path: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        """The characters of each token; long texts in segments, so that the memory used stays small."""
        found: list[tuple[int, int]] = []
        start = 0
        while start < len(text):
            end = self._segment_end(text, start)
            encoding = self._tokenizer.encode(text[start:end], add_special_tokens=False)
            found.extend((start + left, start + right) for left, right in encoding.offsets)
            start = end
        return found

    def count(self, text: str) -> int:
        """How many tokens the text has, special ones not counted."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    @staticmethod
    def _segment_end(text: str, start: int) -> int:
        end = start + _SEGMENT_CHARS
        if end >= len(text):
            return len(text)
        space = max(text.rfind(" ", start + 1, end), text.rfind("\n", start + 1, end))
        return space if space > 0 else end
