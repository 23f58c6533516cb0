"""Who writes an answer: the port to models, which of them is asked, what it costs."""

from __future__ import annotations
