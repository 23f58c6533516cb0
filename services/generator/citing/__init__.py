"""What a model's text goes through before it is released: links made safe, markers checked, statements held against their quotes."""

from __future__ import annotations
