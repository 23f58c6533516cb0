"""How much of a conversation a question may carry: the bounds of `GenerateRequest.history`."""

from __future__ import annotations

MAX_TURNS = 100
MAX_TURN_CHARS = 32_768
MAX_HISTORY_CHARS = 65_536
"""Of all turns together."""
