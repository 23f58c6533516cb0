"""Text as it is looked at here: sentences as spans, words as stems."""

from __future__ import annotations
