"""What clients of OpenAI find here under the paths they know."""

from __future__ import annotations
