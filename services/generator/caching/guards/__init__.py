"""What two questions must have in common, word for word, before one may get the other's answer."""

from __future__ import annotations
