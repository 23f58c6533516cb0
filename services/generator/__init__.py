"""The generator: question and passages in, a streamed, cited answer out."""

from __future__ import annotations
