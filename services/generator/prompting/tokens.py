"""How many tokens a text has when no tokenizer is at hand: never more than this."""

from __future__ import annotations

from collections.abc import Iterable

MESSAGE_TOKENS = 4
"""What a chat format adds to each message: its role and its ends."""


def tokens_at_most(text: str) -> int:
    """Return an upper bound of the tokens of a text: its UTF-8 bytes.

    It holds for tokenizers that give every token at least one byte of the text, which are those of today's language models
    (byte-level BPE, and BPE that falls back to bytes). Nothing smaller does: digits, punctuation and rare scripts come close
    to a token per byte. English prose has about four bytes per token.
    """
    return len(text) if text.isascii() else len(text.encode())


def messages_at_most(messages: Iterable[tuple[str, str]]) -> int:
    """Return an upper bound of the tokens of messages, given as role and text."""
    return sum(MESSAGE_TOKENS + tokens_at_most(text) for _, text in messages)
